//! Values that are bound to placeholders.

use domain::{Error, Result, UserId, UtcTime, Uuid, WorkerId};
use sqlx::{Arguments, Database, Encode, Type};

/// A value that both databases store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

/// The bound values of a statement in order: `params![uuid, 3, "x"]`.
macro_rules! params {
    ($($value:expr),* $(,)?) => { vec![$($crate::db::Value::from($value)),*] };
}
pub(crate) use params;

/// The driver's arguments for these values.
pub(crate) fn arguments<A>(values: Vec<Value>) -> Result<A>
where
    A: Arguments + Default,
    Option<i64>: Encode<'static, A::Database> + Type<A::Database>,
    i64: Encode<'static, A::Database> + Type<A::Database>,
    f64: Encode<'static, A::Database> + Type<A::Database>,
    String: Encode<'static, A::Database> + Type<A::Database>,
    Vec<u8>: Encode<'static, A::Database> + Type<A::Database>,
    A::Database: Database,
{
    let mut arguments = A::default();
    for value in values {
        match value {
            Value::Null => arguments.add(None::<i64>),
            Value::Int(number) => arguments.add(number),
            Value::Real(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text),
            Value::Blob(bytes) => arguments.add(bytes),
        }
        .map_err(|error| Error::internal(format!("Cannot bind a value: {error}")))?;
    }
    Ok(arguments)
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl From<i32> for Value {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Int(flag.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::Text(text.clone())
    }
}

impl From<Uuid> for Value {
    fn from(uuid: Uuid) -> Self {
        Self::Text(uuid.as_str().to_owned())
    }
}

impl From<&Uuid> for Value {
    fn from(uuid: &Uuid) -> Self {
        Self::from(*uuid)
    }
}

impl From<&UserId> for Value {
    fn from(id: &UserId) -> Self {
        Self::Text(id.0.clone())
    }
}

impl From<UserId> for Value {
    fn from(id: UserId) -> Self {
        Self::Text(id.0)
    }
}

impl From<&WorkerId> for Value {
    fn from(id: &WorkerId) -> Self {
        Self::Text(id.0.clone())
    }
}

impl From<UtcTime> for Value {
    fn from(time: UtcTime) -> Self {
        Self::Text(time.sql())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

impl From<domain::BundleState> for Value {
    fn from(state: domain::BundleState) -> Self {
        Self::from(state.as_str())
    }
}

impl From<domain::BundleType> for Value {
    fn from(bundle_type: domain::BundleType) -> Self {
        Self::from(bundle_type.as_str())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
