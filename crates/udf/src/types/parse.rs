//! Reads types as people write them: Lance names, Arrow names and SQL types.
//!
//! A text is read as a Lance name if it is one, then as what Arrow prints, then as a SQL type. The
//! order matters for a few words: `int8` has eight bits as in Lance and Arrow, not eight bytes as in
//! PostgreSQL.

use std::str::FromStr;
use std::sync::Arc;

use arrow_schema::{
    DECIMAL128_MAX_PRECISION, DECIMAL128_MAX_SCALE, DECIMAL256_MAX_PRECISION, DECIMAL256_MAX_SCALE,
    DataType, Field, TimeUnit,
};

use super::TypeError;
use super::name::{ITEM, MAP_FIELDS, unit_name};
use super::reader::{Reader, Unreadable};
use crate::sql::type_of_cast;

/// The most bytes a type may have.
const LENGTH: usize = 16 * 1024;
/// The most levels a type may nest.
const DEPTH: usize = 64;

/// The type that `text` names; letters of keywords in any case.
///
/// | Form | Examples |
/// |---|---|
/// | Lance and Arrow names | `double`, `float`, `int64`, `string`, `bool`, `timestamp(us, "UTC")`, `list<int32>`, `fixed_size_list<float, 128>`, `struct<a: int32 not null>` |
/// | SQL types | `DOUBLE`, `BIGINT`, `VARCHAR`, `TIMESTAMP`, `DECIMAL(10, 2)`, `FLOAT[]`, `FLOAT[128]` |
/// | What Arrow prints | `Float64`, `List(Int32)`, `FixedSizeList(4 x Float32)` |
pub fn parse_type(text: &str) -> Result<DataType, TypeError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(not_a_type(text, "it is empty"));
    }
    if text.len() > LENGTH || nesting(text) > DEPTH {
        return Err(not_a_type(text, "it is too long or nests too deep"));
    }
    let mut reader = Reader { rest: text };
    let as_name = reader.data_type().and_then(|data_type| match reader.rest {
        "" => Ok(data_type),
        rest => Err(Unreadable::Wrong(format!("`{rest}` follows its end"))),
    });
    let reason = match as_name {
        Ok(data_type) => return Ok(data_type),
        Err(Unreadable::Wrong(reason)) => reason,
        Err(Unreadable::OtherName) => "there is no such name".to_owned(),
    };
    if let Ok(data_type) = DataType::from_str(text) {
        return Ok(data_type);
    }
    type_of_cast(text).ok_or_else(|| not_a_type(text, &reason))
}

/// How many brackets are open at once at most. Square ones count as open to the end, because
/// `FLOAT[][]` nests too.
fn nesting(text: &str) -> usize {
    let (mut open, mut most) = (0_usize, 0);
    for character in text.chars() {
        match character {
            '(' | '<' | '[' => open += 1,
            ')' | '>' => open = open.saturating_sub(1),
            _ => {}
        }
        most = most.max(open);
    }
    most
}

fn not_a_type(text: &str, reason: &str) -> TypeError {
    let shorten = |text: &str| text.chars().take(100).collect();
    TypeError::NotAType {
        text: shorten(text),
        reason: shorten(reason),
    }
}

impl<'a> Reader<'a> {
    fn data_type(&mut self) -> Result<DataType, Unreadable> {
        let before = self.rest;
        let data_type = match self.word().to_ascii_lowercase().as_str() {
            "null" => DataType::Null,
            "bool" | "boolean" => DataType::Boolean,
            "int8" => DataType::Int8,
            "int16" => DataType::Int16,
            "int32" => DataType::Int32,
            "int64" => DataType::Int64,
            "uint8" => DataType::UInt8,
            "uint16" => DataType::UInt16,
            "uint32" => DataType::UInt32,
            "uint64" => DataType::UInt64,
            "float16" | "halffloat" | "half" => DataType::Float16,
            "float32" | "float" => DataType::Float32,
            "float64" | "double" => DataType::Float64,
            "string" | "utf8" => DataType::Utf8,
            "large_string" | "large_utf8" => DataType::LargeUtf8,
            "binary" => DataType::Binary,
            "large_binary" => DataType::LargeBinary,
            "date32" => DataType::Date32,
            "date64" => DataType::Date64,
            "fixed_size_binary" => DataType::FixedSizeBinary(self.arguments(Self::size)?),
            "time32" => self.time(
                "time32",
                DataType::Time32,
                &[TimeUnit::Second, TimeUnit::Millisecond],
            )?,
            "time64" => self.time(
                "time64",
                DataType::Time64,
                &[TimeUnit::Microsecond, TimeUnit::Nanosecond],
            )?,
            "duration" => DataType::Duration(self.arguments(Self::unit)?),
            "timestamp" if self.peek("(") || self.peek("[") => self.timestamp(before)?,
            "decimal128" => self.decimal(
                DataType::Decimal128,
                DECIMAL128_MAX_PRECISION,
                DECIMAL128_MAX_SCALE,
            )?,
            "decimal256" => self.decimal(
                DataType::Decimal256,
                DECIMAL256_MAX_PRECISION,
                DECIMAL256_MAX_SCALE,
            )?,
            "list" if self.peek("<") => DataType::List(Arc::new(self.parameters(Self::item)?)),
            "large_list" => DataType::LargeList(Arc::new(self.parameters(Self::item)?)),
            "fixed_size_list" => self.parameters(|reader| {
                let item = Arc::new(reader.item()?);
                reader.expect(",")?;
                Ok(DataType::FixedSizeList(item, reader.size()?))
            })?,
            "struct" if self.peek("<") => self.parameters(Self::fields)?,
            "map" if self.peek("<") => self.parameters(Self::map)?,
            _ => return Err(Unreadable::OtherName),
        };
        Ok(data_type)
    }

    /// `unit` or `unit, zone`, where the zone may be written `tz=zone`.
    ///
    /// A number is a SQL precision: that is not a name of Lance, and `before` is left unread.
    fn timestamp(&mut self, before: &'a str) -> Result<DataType, Unreadable> {
        let numeric = self.rest.trim_start_matches(['(', '[', ' ']);
        if numeric.starts_with(|character: char| character.is_ascii_digit()) {
            self.rest = before;
            return Err(Unreadable::OtherName);
        }
        self.arguments(|reader| {
            let unit = reader.unit()?;
            if !reader.peek(",") {
                return Ok(DataType::Timestamp(unit, None));
            }
            reader.expect(",")?;
            if let Some(zone) = reader.rest.strip_prefix("tz=") {
                reader.rest = zone;
            }
            let zone = if reader.peek("\"") {
                reader.quoted()?
            } else {
                let end = reader.rest.find([')', ']']).unwrap_or(reader.rest.len());
                let (zone, rest) = reader.rest.split_at(end);
                reader.rest = rest;
                zone.trim().trim_matches('\'').to_owned()
            };
            Ok(DataType::Timestamp(unit, Some(zone.into())))
        })
    }

    fn time(
        &mut self,
        name: &str,
        make: impl Fn(TimeUnit) -> DataType,
        units: &[TimeUnit],
    ) -> Result<DataType, Unreadable> {
        let unit = self.arguments(Self::unit)?;
        if units.contains(&unit) {
            Ok(make(unit))
        } else {
            Err(Unreadable::Wrong(format!(
                "{name} has no values in {}",
                unit_name(&unit)
            )))
        }
    }

    fn decimal(
        &mut self,
        make: impl Fn(u8, i8) -> DataType,
        most_digits: u8,
        greatest_scale: i8,
    ) -> Result<DataType, Unreadable> {
        let (precision, scale): (u8, i8) = self.arguments(|reader| {
            let precision = reader.number()?;
            reader.expect(",")?;
            Ok((precision, reader.number()?))
        })?;
        let fits = (1..=most_digits).contains(&precision)
            && scale <= greatest_scale
            && i16::from(scale) <= i16::from(precision);
        if fits {
            Ok(make(precision, scale))
        } else {
            Err(Unreadable::Wrong(format!(
                "a precision of {precision} with a scale of {scale} is out of range"
            )))
        }
    }

    fn fields(&mut self) -> Result<DataType, Unreadable> {
        let mut fields = Vec::new();
        while !self.peek(">") {
            if !fields.is_empty() {
                self.expect(",")?;
            }
            fields.push(self.field()?);
        }
        Ok(DataType::Struct(fields.into()))
    }

    fn map(&mut self) -> Result<DataType, Unreadable> {
        let [entries, key, value] = MAP_FIELDS;
        let key = self.nullable(key.to_owned())?;
        self.expect(",")?;
        let value = self.nullable(value.to_owned())?;
        let entry = DataType::Struct(vec![key, value].into());
        Ok(DataType::Map(
            Arc::new(Field::new(entries, entry, false)),
            false,
        ))
    }

    /// `type` or `name: type`.
    fn item(&mut self) -> Result<Field, Unreadable> {
        let before = self.rest;
        let named = self.peek("\"") || {
            self.word();
            self.peek(":")
        };
        self.rest = before;
        if named {
            self.field()
        } else {
            self.nullable(ITEM.to_owned())
        }
    }

    /// `name: type`.
    fn field(&mut self) -> Result<Field, Unreadable> {
        let name = if self.peek("\"") {
            self.quoted()?
        } else {
            self.word().to_owned()
        };
        self.expect(":")?;
        self.nullable(name)
    }

    /// `type` or `type not null`.
    fn nullable(&mut self, name: String) -> Result<Field, Unreadable> {
        let data_type = self.data_type().map_err(|error| match error {
            Unreadable::OtherName => Unreadable::Wrong("it holds an unknown name".to_owned()),
            wrong => wrong,
        })?;
        let before = self.rest;
        let not_null =
            self.word().eq_ignore_ascii_case("not") && self.word().eq_ignore_ascii_case("null");
        if !not_null {
            self.rest = before;
        }
        Ok(Field::new(name, data_type, !not_null))
    }
}
