//! The fields that some columns take of the structs that a function returns.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StructArray};
use arrow_schema::DataType;
use async_trait::async_trait;
use lance_backfill_core::checkpoint::Fault;
use lance_backfill_ports::compute::{Answer, Call, Compute};

/// A function of several columns, each a field of its structs, by name.
pub(super) struct Picked {
    function: Arc<dyn Compute>,
    /// Struct of the fields that are taken, in the order of the columns.
    output: DataType,
}

impl Picked {
    pub(super) fn new(function: Arc<dyn Compute>, output: DataType) -> Self {
        Self { function, output }
    }

    /// The fields that are taken; what does not have them comes back as it is, and is refused later.
    fn pick(&self, values: ArrayRef) -> ArrayRef {
        let structs = values.as_any().downcast_ref::<StructArray>();
        let (Some(structs), DataType::Struct(fields)) = (structs, &self.output) else {
            return values;
        };
        if values.data_type() == &self.output {
            return values;
        }
        let columns: Option<Vec<ArrayRef>> = (fields.iter())
            .map(|field| structs.column_by_name(field.name()).cloned())
            .collect();
        let nulls = structs.nulls().cloned();
        let picked =
            columns.and_then(|columns| StructArray::try_new(fields.clone(), columns, nulls).ok());
        picked.map_or(values, |picked| Arc::new(picked))
    }
}

#[async_trait]
impl Compute for Picked {
    async fn prepare(&self, rows: u64) -> Result<(), Fault> {
        self.function.prepare(rows).await
    }

    fn lanes(&self) -> usize {
        self.function.lanes()
    }

    fn max_attempts(&self) -> u32 {
        self.function.max_attempts()
    }

    async fn rows_per_call(&self, waiting: usize) -> Result<usize, Fault> {
        self.function.rows_per_call(waiting).await
    }

    async fn call(&self, call: Call<'_>) -> Result<Answer, Fault> {
        let mut answer = self.function.call(call).await?;
        answer.values = (answer.values.into_iter())
            .map(|values| self.pick(values))
            .collect();
        Ok(answer)
    }
}
