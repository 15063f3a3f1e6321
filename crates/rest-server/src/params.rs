//! Query strings by the rules of the API: repeated parameters, `0`/`1` booleans, decimal integers.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::error::{ApiError, ApiResult};

/// The query parameters of a request in the order sent.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses the part after `?`.
    pub fn parse(text: &str) -> Self {
        Self(url::form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    /// The last value of a parameter.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .rev()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter, in order.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// True when the parameter was sent at all, even empty.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// An integer boolean: `0` is false, any other integer is true.
    pub fn flag(&self, name: &str, default: bool) -> ApiResult<bool> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => match text.trim().parse::<i64>() {
                Ok(number) => Ok(number != 0),
                Err(_) => Err(ApiError::usage(format!("'{name}' parameter must be integer boolean"))),
            },
        }
    }

    /// A decimal integer.
    pub fn int(&self, name: &str) -> ApiResult<Option<i64>> {
        match self.get(name) {
            None => Ok(None),
            Some(text) => match text.trim().parse::<i64>() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(ApiError::usage(format!("Invalid int '{text}'"))),
            },
        }
    }

    /// A parameter that is neither missing nor empty.
    pub fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The names in `include`, each of which must be among `supported`.
    pub fn include(&self, supported: &[&str]) -> ApiResult<Vec<String>> {
        let names: Vec<String> = self
            .get("include")
            .unwrap_or_default()
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        let unknown: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| !supported.contains(name))
            .collect();
        if unknown.is_empty() {
            Ok(names)
        } else {
            Err(ApiError::usage(format!("?include={} not supported", unknown.join(","))))
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Query {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_follow_the_encoding_rules() {
        let query = Query::parse("specs=a%5E1&specs=b^[2]&force=1&n=12&include=owner,%20children&x=");
        assert_eq!(query.all("specs"), ["a^1", "b^[2]"]);
        assert!(query.flag("force", false).unwrap());
        assert!(query.flag("missing", true).unwrap());
        assert_eq!(query.int("n").unwrap(), Some(12));
        assert_eq!(query.include(&["owner", "children"]).unwrap(), ["owner", "children"]);
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.non_empty("x"), None);
    }

    #[test]
    fn bad_parameters_say_what_is_wrong() {
        let query = Query::parse("force=yes&n=many&include=owner,moon,sun");
        assert_eq!(
            query.flag("force", false).unwrap_err().message(),
            "'force' parameter must be integer boolean"
        );
        assert_eq!(query.int("n").unwrap_err().message(), "Invalid int 'many'");
        assert_eq!(
            query.include(&["owner"]).unwrap_err().message(),
            "?include=moon,sun not supported"
        );
    }
}
