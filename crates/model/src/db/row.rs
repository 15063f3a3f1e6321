//! Rows as both databases send them. Columns are taken in order of the SELECT list.
//!
//! `DATETIME` columns are selected as `CAST(… AS CHAR)`: the MySQL driver cannot decode them without a calendar crate,
//! and SQLite holds them as text anyway.

use domain::{BundleState, BundleType, Error, Result, UserId, UtcTime, Uuid};
use sqlx::mysql::MySqlRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, TypeInfo, ValueRef};

use super::Value;

/// One row; each getter takes the next column.
#[derive(Debug)]
pub(crate) struct Row(std::vec::IntoIter<Value>);

impl Row {
    pub(crate) fn from_sqlite(row: &SqliteRow) -> Result<Self> {
        let values = (0..row.len()).map(|index| sqlite_value(row, index));
        let values: Result<Vec<_>, sqlx::Error> = values.collect();
        values
            .map(|values| Self(values.into_iter()))
            .map_err(|error| undecodable(&error))
    }

    pub(crate) fn from_mysql(row: &MySqlRow) -> Result<Self> {
        let values = (0..row.len()).map(|index| mysql_value(row, index));
        let values: Result<Vec<_>, sqlx::Error> = values.collect();
        values
            .map(|values| Self(values.into_iter()))
            .map_err(|error| undecodable(&error))
    }

    /// All remaining columns as one text.
    pub(crate) fn into_line(mut self) -> Result<String> {
        let mut texts = Vec::with_capacity(self.0.len());
        while self.0.len() > 0 {
            texts.push(self.opt_text()?.unwrap_or_default());
        }
        Ok(texts.join(" | "))
    }

    pub(crate) fn value(&mut self) -> Result<Value> {
        self.0
            .next()
            .ok_or_else(|| Error::internal("Database error: a row has fewer columns than expected"))
    }

    pub(crate) fn opt_text(&mut self) -> Result<Option<String>> {
        Ok(match self.value()? {
            Value::Null => None,
            Value::Text(text) => Some(text),
            Value::Int(number) => Some(number.to_string()),
            Value::Real(number) => Some(number.to_string()),
            Value::Blob(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        })
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        self.opt_text()?.ok_or_else(unexpected_null)
    }

    pub(crate) fn opt_int(&mut self) -> Result<Option<i64>> {
        Ok(match self.value()? {
            Value::Null => None,
            Value::Int(number) => Some(number),
            Value::Real(number) => Some(number as i64),
            Value::Text(text) => Some(text.parse::<f64>().map_err(|_| not_a_number(&text))? as i64),
            Value::Blob(bytes) => return Err(not_a_number(&String::from_utf8_lossy(&bytes))),
        })
    }

    pub(crate) fn int(&mut self) -> Result<i64> {
        self.opt_int()?.ok_or_else(unexpected_null)
    }

    pub(crate) fn opt_real(&mut self) -> Result<Option<f64>> {
        Ok(match self.value()? {
            Value::Null => None,
            Value::Int(number) => Some(number as f64),
            Value::Real(number) => Some(number),
            Value::Text(text) => Some(text.parse().map_err(|_| not_a_number(&text))?),
            Value::Blob(bytes) => return Err(not_a_number(&String::from_utf8_lossy(&bytes))),
        })
    }

    pub(crate) fn real(&mut self) -> Result<f64> {
        self.opt_real()?.ok_or_else(unexpected_null)
    }

    /// NULL counts as false.
    pub(crate) fn flag(&mut self) -> Result<bool> {
        Ok(self.opt_int()?.unwrap_or(0) != 0)
    }

    pub(crate) fn opt_flag(&mut self) -> Result<Option<bool>> {
        Ok(self.opt_int()?.map(|number| number != 0))
    }

    pub(crate) fn uuid(&mut self) -> Result<Uuid> {
        let text = self.text()?;
        Uuid::parse(&text).map_err(|_| Error::internal(format!("Database error: '{text}' is not a uuid")))
    }

    /// None also for text that is not a uuid: dangling references of old databases.
    pub(crate) fn opt_uuid(&mut self) -> Result<Option<Uuid>> {
        Ok(self.opt_text()?.and_then(|text| Uuid::parse(&text).ok()))
    }

    pub(crate) fn opt_user_id(&mut self) -> Result<Option<UserId>> {
        Ok(self.opt_text()?.map(UserId))
    }

    pub(crate) fn user_id(&mut self) -> Result<UserId> {
        Ok(UserId(self.text()?))
    }

    /// None also for MySQL's zero dates.
    pub(crate) fn opt_time(&mut self) -> Result<Option<UtcTime>> {
        Ok(self.opt_text()?.and_then(|text| UtcTime::parse(&text).ok()))
    }

    pub(crate) fn time(&mut self) -> Result<UtcTime> {
        Ok(self.opt_time()?.unwrap_or_else(|| UtcTime::from_unix(0)))
    }

    pub(crate) fn opt_state(&mut self) -> Result<Option<BundleState>> {
        Ok(self.opt_text()?.and_then(|text| text.parse().ok()))
    }

    /// A state no version knows counts as failed, so that it is shown and nothing touches it.
    pub(crate) fn state(&mut self) -> Result<BundleState> {
        Ok(self.opt_state()?.unwrap_or(BundleState::Failed))
    }

    /// A type no version knows is shown as a dataset.
    pub(crate) fn bundle_type(&mut self) -> Result<BundleType> {
        Ok(self.text()?.parse().unwrap_or(BundleType::Dataset))
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>> {
        Ok(match self.value()? {
            Value::Blob(bytes) => bytes,
            Value::Text(text) => text.into_bytes(),
            _ => Vec::new(),
        })
    }
}

fn sqlite_value(row: &SqliteRow, index: usize) -> Result<Value, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(Value::Null);
    }
    // The type of this very value, not of the column: SQLite stores what it is given.
    let type_info = value.type_info();
    Ok(match type_info.name() {
        "INTEGER" | "BOOLEAN" => Value::Int(row.try_get_unchecked(index)?),
        "REAL" => Value::Real(row.try_get_unchecked(index)?),
        "BLOB" => Value::Blob(row.try_get_unchecked(index)?),
        _ => Value::Text(row.try_get_unchecked(index)?),
    })
}

fn mysql_value(row: &MySqlRow, index: usize) -> Result<Value, sqlx::Error> {
    let value = row.try_get_raw(index)?;
    if value.is_null() {
        return Ok(Value::Null);
    }
    let type_info = value.type_info();
    Ok(match type_info.name() {
        name if name.ends_with("UNSIGNED") => Value::Int(row.try_get_unchecked::<u64, _>(index)? as i64),
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "INT" | "MEDIUMINT" | "BIGINT" => {
            Value::Int(row.try_get_unchecked(index)?)
        }
        "FLOAT" => Value::Real(row.try_get_unchecked::<f32, _>(index)?.into()),
        "DOUBLE" => Value::Real(row.try_get_unchecked(index)?),
        "BINARY" | "VARBINARY" | "TINYBLOB" | "BLOB" | "MEDIUMBLOB" | "LONGBLOB" => {
            Value::Blob(row.try_get_unchecked(index)?)
        }
        _ => Value::Text(row.try_get_unchecked(index)?),
    })
}

fn undecodable(error: &sqlx::Error) -> Error {
    Error::internal(format!("Database error: cannot read a row: {error}"))
}

fn unexpected_null() -> Error {
    Error::internal("Database error: a value is missing")
}

fn not_a_number(text: &str) -> Error {
    Error::internal(format!("Database error: '{text}' is not a number"))
}
