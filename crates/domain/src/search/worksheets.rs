//! Worksheet queries (data-model section 16.3).

use super::{Comparison, Keyword, Paging, Pattern, Sort, Wanted, number, sort_first, unknown_key};
use crate::{Error, Result};

/// A property of the worksheet itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorksheetColumn {
    Id,
    Uuid,
    Name,
    Title,
    OwnerId,
}

impl WorksheetColumn {
    /// The key of the search language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Uuid => "uuid",
            Self::Name => "name",
            Self::Title => "title",
            Self::OwnerId => "owner_id",
        }
    }
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorksheetCondition {
    /// The uuid, the name or the title matches.
    UuidNameOrTitle(Pattern),
    /// One of those or an item's text matches.
    Anywhere(Pattern),
    Column(WorksheetColumn, Comparison),
    /// The owner is the active user with this name or e-mail address.
    Owner(String),
    Mine,
    /// Somebody else owns it.
    NotMine,
    /// A group the viewer is a member of may read it.
    Shared,
    /// This group may read it.
    Group(String),
    Tag(Comparison),
    /// Shows a bundle whose uuid compares.
    Bundle(Comparison),
    /// Links to a worksheet whose uuid compares.
    Subworksheet(Comparison),
}

/// What a worksheet search asks for. There are no aggregates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorksheetQuery {
    pub conditions: Vec<WorksheetCondition>,
    /// The most important first. Own worksheets come before all others whatever it says.
    pub order: Vec<Sort<WorksheetColumn>>,
    pub paging: Paging,
}

impl WorksheetQuery {
    /// # Errors
    /// 400 for an unknown key, a malformed number, or a sort by something that has no order.
    pub fn parse<S: AsRef<str>>(keywords: &[S]) -> Result<Self> {
        super::check_size(keywords)?;
        let mut query = Self::default();
        for keyword in keywords {
            query.add(keyword.as_ref())?;
        }
        Ok(query)
    }

    fn add(&mut self, keyword: &str) -> Result<()> {
        use WorksheetCondition as C;
        match keyword {
            ".mine" => self.conditions.push(C::Mine),
            ".notmine" => self.conditions.push(C::NotMine),
            ".shared" => self.conditions.push(C::Shared),
            ".last" => sort_first(&mut self.order, WorksheetColumn::Id, true),
            _ => match Keyword::parse(keyword) {
                Keyword::Word(word) => {
                    let pattern = Pattern::contains(&word);
                    if !pattern.matches_everything() {
                        self.conditions.push(C::UuidNameOrTitle(pattern));
                    }
                }
                Keyword::Pair { key, value } => return self.add_pair(&key, &value),
            },
        }
        Ok(())
    }

    fn add_pair(&mut self, key: &str, value: &str) -> Result<()> {
        use WorksheetCondition as C;
        let condition = match key {
            "" => C::Anywhere(Pattern::contains(value)),
            ".limit" => {
                self.paging.limit = number(key, value)?;
                return Ok(());
            }
            ".offset" => {
                self.paging.offset = number(key, value)?;
                return Ok(());
            }
            "id" => return self.column(WorksheetColumn::Id, value),
            "uuid" => return self.column(WorksheetColumn::Uuid, value),
            "name" => return self.column(WorksheetColumn::Name, value),
            "title" => return self.column(WorksheetColumn::Title, value),
            "owner_id" => return self.column(WorksheetColumn::OwnerId, value),
            "owner" => C::Owner(value.to_owned()),
            "group" => C::Group(value.to_owned()),
            "tag" => C::Tag(related(key, value)?),
            "bundle" => C::Bundle(related(key, value)?),
            "worksheet" => C::Subworksheet(related(key, value)?),
            _ => return Err(unknown_key(key)),
        };
        self.conditions.push(condition);
        Ok(())
    }

    fn column(&mut self, column: WorksheetColumn, value: &str) -> Result<()> {
        match Wanted::parse(value) {
            Wanted::Sort { descending } => sort_first(&mut self.order, column, descending),
            Wanted::Sum => return Err(Error::usage("Worksheet search has no .sum")),
            Wanted::Where(comparison) => self.conditions.push(WorksheetCondition::Column(column, comparison)),
        }
        Ok(())
    }
}

fn related(key: &str, value: &str) -> Result<Comparison> {
    match Wanted::parse(value) {
        Wanted::Where(comparison) => Ok(comparison),
        Wanted::Sort { .. } | Wanted::Sum => {
            Err(Error::usage(format!("Worksheets cannot be sorted or summed by {key}.")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_become_conditions_or_are_refused() {
        use WorksheetCondition as C;
        let equals = |text: &str| Comparison::Equals(text.to_owned());
        for (keyword, expected) in [
            ("lab", C::UuidNameOrTitle(Pattern::contains("lab"))),
            (".count", C::UuidNameOrTitle(Pattern::contains(".count"))),
            ("=lab", C::Anywhere(Pattern::contains("lab"))),
            (".notmine", C::NotMine),
            ("name=home", C::Column(WorksheetColumn::Name, equals("home"))),
            ("bundle=0x1", C::Bundle(equals("0x1"))),
            ("worksheet=0x1", C::Subworksheet(equals("0x1"))),
        ] {
            assert_eq!(
                WorksheetQuery::parse(&[keyword]).unwrap().conditions,
                [expected],
                "{keyword}"
            );
        }
        for (keyword, text) in [
            ("foo=1", "Unknown key: foo"),
            (".format=x", "Unknown key: .format"),
            ("tag=.sort", "Worksheets cannot be sorted or summed by tag."),
            ("name=.sum", "Worksheet search has no .sum"),
        ] {
            assert_eq!(WorksheetQuery::parse(&[keyword]).unwrap_err().message, text);
        }
    }
}
