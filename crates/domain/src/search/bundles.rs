//! Bundle queries (data-model section 16.2).

use super::{Bound, Comparison, Keyword, Paging, Pattern, Sort, Wanted, moment, number, sort_first};
use crate::{Error, Result};

/// A property of the bundle itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleColumn {
    Id,
    Uuid,
    BundleType,
    State,
    Command,
    OwnerId,
}

impl BundleColumn {
    const ALL: [Self; 6] = [
        Self::Id,
        Self::Uuid,
        Self::BundleType,
        Self::State,
        Self::Command,
        Self::OwnerId,
    ];

    /// The key of the search language.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Uuid => "uuid",
            Self::BundleType => "bundle_type",
            Self::State => "state",
            Self::Command => "command",
            Self::OwnerId => "owner_id",
        }
    }
}

/// Something a bundle can be filtered, sorted and summed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleField {
    Column(BundleColumn),
    /// A metadata key in lower case, known or not.
    Metadata(String),
}

impl BundleField {
    fn parse(key: &str) -> Self {
        let key = match key.to_lowercase().as_str() {
            "type" => "bundle_type".to_owned(),
            "size" => "data_size".to_owned(),
            other => other.to_owned(),
        };
        match BundleColumn::ALL.into_iter().find(|column| column.as_str() == key) {
            Some(column) => Self::Column(column),
            None => Self::Metadata(key),
        }
    }
}

/// One thing that must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BundleCondition {
    /// The uuid or the name matches.
    UuidOrName(Pattern),
    /// The uuid, the command or any metadata value matches.
    Anywhere(Pattern),
    Field(BundleField, Comparison),
    /// The field exists, because it is sorted by.
    Exists(BundleField),
    /// The owner is the active user with this name or e-mail address.
    Owner(String),
    Mine,
    /// A group the viewer is a member of may read it.
    Shared,
    /// This group may read it.
    Group(String),
    /// On no worksheet.
    Floating,
    /// On a worksheet whose uuid compares.
    HostWorksheet(Comparison),
    /// Depends on a bundle whose uuid compares, under this path if there is one.
    Dependency {
        child_path: Option<String>,
        parent: Comparison,
    },
    /// Created before or after these Unix seconds.
    Created(Bound, i64),
}

/// A single value instead of bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// How many match, at most `at_most`.
    Count { at_most: Option<i64> },
    /// The sum of a field as a number.
    Sum(BundleField),
}

/// What a bundle search asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleQuery {
    pub conditions: Vec<BundleCondition>,
    /// The most important first; ties and no sort key at all: by id.
    pub order: Vec<Sort<BundleField>>,
    pub paging: Paging,
    pub aggregate: Option<Aggregate>,
    /// A post-function for the aggregate.
    pub format: Option<String>,
}

impl BundleQuery {
    /// # Errors
    /// 400 for a malformed number, date, or a sort by something that has no order.
    pub fn parse<S: AsRef<str>>(keywords: &[S]) -> Result<Self> {
        super::check_size(keywords)?;
        let mut query = Self::default();
        for keyword in keywords {
            query.add(keyword.as_ref())?;
        }
        Ok(query)
    }

    fn add(&mut self, keyword: &str) -> Result<()> {
        match keyword {
            ".mine" => self.conditions.push(BundleCondition::Mine),
            ".last" => sort_first(&mut self.order, BundleField::Column(BundleColumn::Id), true),
            ".shared" => self.conditions.push(BundleCondition::Shared),
            ".floating" => self.conditions.push(BundleCondition::Floating),
            // Cancels an earlier limit; a later one caps the count.
            ".count" => self.aggregate = Some(Aggregate::Count { at_most: None }),
            _ => match Keyword::parse(keyword) {
                Keyword::Word(word) => self.uuid_or_name(&word),
                Keyword::Pair { key, value } => return self.add_pair(&key, &value),
            },
        }
        Ok(())
    }

    fn add_pair(&mut self, key: &str, value: &str) -> Result<()> {
        let condition = match key {
            "" => BundleCondition::Anywhere(Pattern::contains(value)),
            "uuid_name" => {
                self.uuid_or_name(value);
                return Ok(());
            }
            ".limit" => {
                self.paging.limit = number(key, value)?;
                if let Some(Aggregate::Count { at_most }) = &mut self.aggregate {
                    *at_most = Some(self.paging.limit);
                }
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
            ".before" => BundleCondition::Created(Bound::AtMost, moment(value)?),
            ".after" => BundleCondition::Created(Bound::AtLeast, moment(value)?),
            "owner" => BundleCondition::Owner(value.to_owned()),
            "group" => BundleCondition::Group(value.to_owned()),
            "worksheet" | "host_worksheet" => BundleCondition::HostWorksheet(related(key, value)?),
            "dependency" => BundleCondition::Dependency {
                child_path: None,
                parent: related(key, value)?,
            },
            _ => {
                let Some(child_path) = key.strip_prefix("dependency/") else {
                    self.add_field(BundleField::parse(key), value);
                    return Ok(());
                };
                BundleCondition::Dependency {
                    child_path: Some(child_path.to_owned()),
                    parent: related(key, value)?,
                }
            }
        };
        self.conditions.push(condition);
        Ok(())
    }

    fn add_field(&mut self, field: BundleField, value: &str) {
        match Wanted::parse(value) {
            Wanted::Sort { descending } => {
                if matches!(field, BundleField::Metadata(_)) {
                    self.conditions.push(BundleCondition::Exists(field.clone()));
                }
                sort_first(&mut self.order, field, descending);
            }
            Wanted::Sum => self.aggregate = Some(Aggregate::Sum(field)),
            Wanted::Where(comparison) => self.conditions.push(BundleCondition::Field(field, comparison)),
        }
    }

    fn uuid_or_name(&mut self, word: &str) {
        let pattern = Pattern::contains(word);
        if !pattern.matches_everything() {
            self.conditions.push(BundleCondition::UuidOrName(pattern));
        }
    }
}

/// A comparison with the uuid of something else, which has no order and no sum.
fn related(key: &str, value: &str) -> Result<Comparison> {
    match Wanted::parse(value) {
        Wanted::Where(comparison) => Ok(comparison),
        Wanted::Sort { .. } | Wanted::Sum => Err(Error::usage(format!(
            "Bundles cannot be sorted or summed by {key}; give a uuid ({key}=0x…)."
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(key: &str) -> BundleField {
        BundleField::Metadata(key.to_owned())
    }

    #[test]
    fn keywords_become_conditions() {
        use BundleCondition as C;
        let equals = |text: &str| Comparison::Equals(text.to_owned());
        for (keyword, expected) in [
            ("abc", C::UuidOrName(Pattern::contains("abc"))),
            ("uuid_name=abc", C::UuidOrName(Pattern::contains("abc"))),
            ("=abc", C::Anywhere(Pattern::contains("abc"))),
            (".mine", C::Mine),
            (".shared", C::Shared),
            (".floating", C::Floating),
            ("owner=ada", C::Owner("ada".into())),
            ("group=team", C::Group("team".into())),
            (
                "type=run",
                C::Field(BundleField::Column(BundleColumn::BundleType), equals("run")),
            ),
            ("Size=3", C::Field(metadata("data_size"), equals("3"))),
            (
                "tags=a,b",
                C::Field(metadata("tags"), Comparison::AnyOf(vec!["a".into(), "b".into()])),
            ),
            (
                "name=a.*",
                C::Field(metadata("name"), Comparison::Like(Pattern::value("a%"))),
            ),
            ("worksheet=0x1", C::HostWorksheet(equals("0x1"))),
            (
                "dependency=0x1",
                C::Dependency {
                    child_path: None,
                    parent: equals("0x1"),
                },
            ),
            (
                "dependency/=0x1",
                C::Dependency {
                    child_path: Some(String::new()),
                    parent: equals("0x1"),
                },
            ),
            (".after=1970-01-02", C::Created(Bound::AtLeast, 86400)),
        ] {
            assert_eq!(
                BundleQuery::parse(&[keyword]).unwrap().conditions,
                [expected],
                "{keyword}"
            );
        }
        assert!(BundleQuery::parse(&[""]).unwrap().conditions.is_empty());
    }

    #[test]
    fn the_last_sort_key_is_the_primary_one_and_filters() {
        let query = BundleQuery::parse(&[".last", "size=.sort", "id=.sort"]).unwrap();
        let order: Vec<_> = query
            .order
            .iter()
            .map(|sort| (sort.field.clone(), sort.descending))
            .collect();
        assert_eq!(
            order,
            [
                (BundleField::Column(BundleColumn::Id), false),
                (metadata("data_size"), false)
            ]
        );
        assert_eq!(query.conditions, [BundleCondition::Exists(metadata("data_size"))]);
    }

    #[test]
    fn a_limit_caps_a_count_only_when_it_comes_later() {
        for (keywords, at_most) in [
            (vec![".limit=3", ".count"], None),
            (vec![".count", ".limit=3"], Some(3)),
            (vec![".count", ".limit=3", ".count"], None),
        ] {
            let query = BundleQuery::parse(&keywords).unwrap();
            assert_eq!(query.aggregate, Some(Aggregate::Count { at_most }), "{keywords:?}");
        }
        assert_eq!(
            BundleQuery::parse(&["size=.sum"]).unwrap().aggregate,
            Some(Aggregate::Sum(metadata("data_size")))
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (keyword, text) in [
            (".limit=x", ".limit must be a number of zero or more, was 'x'."),
            (".offset=-1", ".offset must be a number of zero or more, was '-1'."),
            (".before=soon", "Unable to parse datetime."),
            ("worksheet=.sort", "Bundles cannot be sorted or summed by worksheet"),
        ] {
            let error = BundleQuery::parse(&[keyword]).unwrap_err();
            assert!(error.message.starts_with(text), "{keyword}: {}", error.message);
        }
    }
}
