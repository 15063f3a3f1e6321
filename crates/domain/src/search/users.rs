//! User queries (data-model section 16.4), and which keywords are for the administrator only.

use super::{Bound, Comparison, Keyword, Paging, Pattern, Sort, Wanted, moment, number, sort_first, unknown_key};
use crate::{Error, Result};

/// A property of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserField {
    Id,
    UserId,
    UserName,
    Email,
    LastLogin,
    FirstName,
    LastName,
    Affiliation,
    TimeQuota,
    ParallelRunQuota,
    TimeUsed,
    DiskQuota,
    DiskUsed,
    DateJoined,
}

impl UserField {
    const ALL: [Self; 14] = [
        Self::Id,
        Self::UserId,
        Self::UserName,
        Self::Email,
        Self::LastLogin,
        Self::FirstName,
        Self::LastName,
        Self::Affiliation,
        Self::TimeQuota,
        Self::ParallelRunQuota,
        Self::TimeUsed,
        Self::DiskQuota,
        Self::DiskUsed,
        Self::DateJoined,
    ];

    /// The key of the search language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::UserId => "user_id",
            Self::UserName => "user_name",
            Self::Email => "email",
            Self::LastLogin => "last_login",
            Self::FirstName => "first_name",
            Self::LastName => "last_name",
            Self::Affiliation => "affiliation",
            Self::TimeQuota => "time_quota",
            Self::ParallelRunQuota => "parallel_run_quota",
            Self::TimeUsed => "time_used",
            Self::DiskQuota => "disk_quota",
            Self::DiskUsed => "disk_used",
            Self::DateJoined => "date_joined",
        }
    }

    /// Whether everybody may search by it, not only the administrator.
    const fn is_open(self) -> bool {
        matches!(
            self,
            Self::UserName | Self::FirstName | Self::LastName | Self::Affiliation
        )
    }
}

/// Something that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Disk,
    Time,
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq)]
pub enum UserCondition {
    /// User id, user name, first or last name matches.
    Name(Pattern),
    Field(UserField, Comparison),
    /// A point in time, in Unix seconds: `DateJoined` or `LastLogin`.
    Time(UserField, Bound, i64),
    /// Used divided by quota.
    Share(Resource, Bound, f64),
}

/// What a user search asks for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserQuery {
    pub conditions: Vec<UserCondition>,
    /// The most important first.
    pub order: Vec<Sort<UserField>>,
    pub paging: Paging,
    pub count: bool,
    /// A post-function for the count.
    pub format: Option<String>,
}

impl UserQuery {
    /// Reads keywords; `by_root` says that the administrator asks.
    ///
    /// # Errors
    /// 403 for anybody else's keyword that is not open to all; 400 for an unknown key, a malformed number or date.
    pub fn parse<S: AsRef<str>>(keywords: &[S], by_root: bool) -> Result<Self> {
        super::check_size(keywords)?;
        let mut query = Self::default();
        for keyword in keywords {
            match keyword.as_ref() {
                ".last" => sort_first(&mut query.order, UserField::Id, true),
                ".count" => query.count = true,
                text => match Keyword::parse(text) {
                    Keyword::Word(word) => query.named(&word),
                    Keyword::Pair { key, .. } if !by_root && !is_open(&key) => {
                        return Err(Error::permission(format!(
                            "You don't have access to search for users by '{key}'; ask an administrator."
                        )));
                    }
                    Keyword::Pair { key, value } => query.add_pair(&key, &value)?,
                },
            }
        }
        Ok(query)
    }

    fn add_pair(&mut self, key: &str, value: &str) -> Result<()> {
        use Bound::{AtLeast, AtMost};
        use UserCondition::{Share, Time};
        let condition = match key {
            "" => {
                self.named(value);
                return Ok(());
            }
            ".limit" => {
                self.paging.limit = number(key, value)?;
                return Ok(());
            }
            ".offset" => {
                self.paging.offset = number(key, value)?;
                return Ok(());
            }
            ".format" => {
                self.format = Some(value.to_owned());
                return Ok(());
            }
            ".joined_before" => Time(UserField::DateJoined, AtMost, moment(value)?),
            ".joined_after" => Time(UserField::DateJoined, AtLeast, moment(value)?),
            ".active_before" => Time(UserField::LastLogin, AtMost, moment(value)?),
            ".active_after" => Time(UserField::LastLogin, AtLeast, moment(value)?),
            ".disk_used_less_than" => Share(Resource::Disk, AtMost, share(value)?),
            ".disk_used_more_than" => Share(Resource::Disk, AtLeast, share(value)?),
            ".time_used_less_than" => Share(Resource::Time, AtMost, share(value)?),
            ".time_used_more_than" => Share(Resource::Time, AtLeast, share(value)?),
            _ => {
                let field = UserField::ALL.into_iter().find(|field| field.as_str() == key);
                return self.field(field.ok_or_else(|| unknown_key(key))?, value);
            }
        };
        self.conditions.push(condition);
        Ok(())
    }

    fn field(&mut self, field: UserField, value: &str) -> Result<()> {
        match Wanted::parse(value) {
            Wanted::Sort { descending } => sort_first(&mut self.order, field, descending),
            Wanted::Sum => return Err(Error::usage("User search has no .sum")),
            Wanted::Where(comparison) => self.conditions.push(UserCondition::Field(field, comparison)),
        }
        Ok(())
    }

    fn named(&mut self, word: &str) {
        let pattern = Pattern::contains(word);
        if !pattern.matches_everything() {
            self.conditions.push(UserCondition::Name(pattern));
        }
    }
}

/// Whether everybody may use a key.
fn is_open(key: &str) -> bool {
    matches!(
        key,
        "" | ".limit" | ".offset" | ".format" | ".joined_before" | ".joined_after"
    ) || UserField::ALL
        .into_iter()
        .any(|field| field.as_str() == key && field.is_open())
}

/// `70%` or `0.7`.
fn share(value: &str) -> Result<f64> {
    let number = match value.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => value.trim().parse::<f64>(),
    };
    number
        .ok()
        .filter(|share| share.is_finite())
        .ok_or_else(|| Error::usage(format!("'{value}' is not a share: write 70% or 0.7.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_keywords_are_for_the_administrator_only() {
        for (keyword, root, others) in [
            ("", 200, 200),
            ("ada", 200, 200),
            (".last", 200, 200),
            (".count", 200, 200),
            (".limit=3", 200, 200),
            (".joined_after=2020-01-01", 200, 200),
            ("user_name=ada", 200, 200),
            ("affiliation=.sort", 200, 200),
            (".active_after=2020-01-01", 200, 403),
            ("email=x", 200, 403),
            ("disk_used=.sort-", 200, 403),
            (".disk_used_less_than=70%", 200, 403),
            (".disk_used_less_than=many", 400, 403),
            (".disk_foo=1", 400, 403),
            (".limit=x", 400, 400),
        ] {
            let status = |by_root| UserQuery::parse(&[keyword], by_root).map_or_else(|error| error.status(), |_| 200);
            assert_eq!((status(true), status(false)), (root, others), "{keyword}");
        }
    }

    #[test]
    fn shares_are_percentages_or_fractions() {
        for (text, expected) in [("70%", Some(0.7)), ("0.7", Some(0.7)), ("1e400", None), ("", None)] {
            assert_eq!(share(text).ok(), expected, "{text}");
        }
    }
}
