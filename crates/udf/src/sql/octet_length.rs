//! `octet_length` of strings and of bytes.
//!
//! DataFusion's knows strings only, and the size of a blob is the first thing that one asks about it.

use arrow_schema::DataType;
use datafusion::arrow::compute::kernels::length::length;
use datafusion::common::types::logical_string;
use datafusion::common::utils::take_function_args;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::logical_expr::{
    Coercion, ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, TypeSignature,
    TypeSignatureClass, Volatility,
};

/// The number of bytes of a value: 64 bits for the large types, 32 bits for the others.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct OctetLength {
    signature: Signature,
}

impl OctetLength {
    pub(super) fn new() -> Self {
        let of = |class| TypeSignature::Coercible(vec![Coercion::new_exact(class)]);
        let arguments = vec![
            of(TypeSignatureClass::Native(logical_string())),
            of(TypeSignatureClass::Binary),
        ];
        Self {
            signature: Signature::one_of(arguments, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for OctetLength {
    fn name(&self) -> &str {
        "octet_length"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(match arguments {
            [DataType::LargeUtf8 | DataType::LargeBinary] => DataType::Int64,
            _ => DataType::Int32,
        })
    }

    fn invoke_with_args(
        &self,
        arguments: ScalarFunctionArgs,
    ) -> Result<ColumnarValue, DataFusionError> {
        let [value] = take_function_args(self.name(), &arguments.args)?;
        Ok(match value {
            ColumnarValue::Array(values) => ColumnarValue::Array(length(values.as_ref())?),
            ColumnarValue::Scalar(value) => {
                let lengths = length(value.to_array()?.as_ref())?;
                ColumnarValue::Scalar(ScalarValue::try_from_array(&lengths, 0)?)
            }
        })
    }
}
