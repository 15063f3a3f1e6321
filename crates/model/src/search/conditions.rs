//! What must hold of a bundle, as SQL about the row `b`, and the ways to reach the bundles of which it holds.

use domain::Result;
use domain::id::is_uuid;
use domain::search::{Bound, BundleColumn, BundleCondition, BundleField, Comparison, Pattern};

use super::access::{Access, Entries, Link};
use super::sql::{Clause, compare, lowercase, matches};
use crate::Model;
use crate::db::{Engine, Value, params};
use crate::dialect::{BUNDLE_UUID, list};
use crate::resolve::prefix_end;

/// A condition of a bundle search.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    /// Whether it holds of `b`.
    pub(super) check: Clause,
    pub(super) ways: Vec<Way>,
    /// At most one bundle can satisfy it, and the planner sees that.
    pub(super) unique: bool,
    /// About the time of creation.
    pub(super) by_creation: bool,
}

/// A way to all bundles of a condition.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) access: Access,
    /// It leads to no other bundles.
    pub(super) exact: bool,
}

impl Condition {
    fn new(check: Clause, ways: Vec<Way>) -> Self {
        Self {
            check,
            ways,
            unique: false,
            by_creation: false,
        }
    }

    fn unique(check: Clause) -> Self {
        Self {
            unique: true,
            ..Self::new(check, Vec::new())
        }
    }

    fn never() -> Self {
        Self::unique(Clause::never())
    }
}

fn exactly(access: impl Into<Access>) -> Vec<Way> {
    vec![Way {
        access: access.into(),
        exact: true,
    }]
}

fn roughly(access: impl Into<Access>) -> Vec<Way> {
    vec![Way {
        access: access.into(),
        exact: false,
    }]
}

/// An owner id that no account has.
pub(super) const NOBODY: &str = "x";

impl Model {
    /// The condition as SQL; looks up the names of owners and groups.
    pub(super) async fn condition(&self, viewer: Option<&str>, condition: &BundleCondition) -> Result<Vec<Condition>> {
        let engine = self.db.engine();
        Ok(vec![match condition {
            BundleCondition::UuidOrName(pattern) => uuid_or_name(pattern),
            BundleCondition::Anywhere(pattern) => anywhere(pattern),
            BundleCondition::Exists(field) => exists(field),
            BundleCondition::Field(BundleField::Column(BundleColumn::OwnerId), comparison) => {
                return Ok(self.owner_is(viewer, comparison));
            }
            BundleCondition::Field(field, comparison) => field_is(field, comparison),
            BundleCondition::Owner(name) => match self.user_by_name(name).await? {
                Some(user) => return Ok(self.owner_is(viewer, &Comparison::Equals(user.user_id.0))),
                None => Condition::never(),
            },
            BundleCondition::Mine => match viewer {
                Some(viewer) => owned_by(&Comparison::Equals(viewer.to_owned())),
                None => Condition::never(),
            },
            BundleCondition::Shared => match viewer {
                Some(viewer) => Condition::new(shared_check(engine, viewer), exactly(shared_entries(engine, viewer))),
                None => Condition::never(),
            },
            BundleCondition::Group(spec) => {
                let group = self.resolve_group(spec, Some(viewer.unwrap_or(NOBODY))).await?;
                group_reads(group.uuid)
            }
            BundleCondition::Floating => floating(),
            BundleCondition::HostWorksheet(comparison) => host_worksheet(&lowercase(comparison)),
            BundleCondition::Dependency { child_path, parent } => dependency(child_path.as_deref(), &lowercase(parent)),
            BundleCondition::Created(bound, time) => created(*bound, *time),
        }])
    }

    /// The owner compares; owners of anonymous bundles are not given away by searching for them.
    fn owner_is(&self, viewer: Option<&str>, comparison: &Comparison) -> Vec<Condition> {
        let owned = owned_by(comparison);
        let own = matches!((viewer, comparison), (Some(viewer), Comparison::Equals(owner)) if viewer == owner);
        if own || self.is_root(viewer) {
            return vec![owned];
        }
        let mut revealed = vec![Clause::new("b.`is_anonymous` = 0", params![])];
        revealed.extend(viewer.map(|viewer| Clause::new("b.`owner_id` = ?", params![viewer])));
        vec![owned, Condition::new(Clause::any(revealed), Vec::new())]
    }

    /// What `viewer` may read; nothing to check for root.
    pub(super) fn visible(&self, viewer: Option<&str>) -> Option<Condition> {
        if self.is_root(viewer) {
            return None;
        }
        let engine = self.db.engine();
        let public = || Clause::new("b.`is_public` = 1", params![]);
        let public_entries = Entries::bundles("bundle_public_index", public(), true);
        Some(match viewer {
            None => Condition::new(public(), exactly(public_entries)),
            Some(viewer) => {
                let owned = Clause::new("b.`owner_id` = ?", params![viewer]);
                Condition::new(
                    Clause::any([public(), owned.clone(), shared_check(engine, viewer)]),
                    exactly(Access::union(vec![
                        public_entries,
                        Entries::bundles("bundle_owner_id_index", owned, true),
                        shared_entries(engine, viewer),
                    ])),
                )
            }
        })
    }
}

fn owned_by(comparison: &Comparison) -> Condition {
    let check = compare("b.`owner_id`", comparison);
    let ordered = matches!(comparison, Comparison::Equals(_));
    let ways = match comparison {
        Comparison::Like(_) => Vec::new(),
        _ => exactly(Entries::bundles("bundle_owner_id_index", check.clone(), ordered)),
    };
    Condition::new(check, ways)
}

/// Some group the user is a member of may read it; the public group has no members.
pub(super) fn shared_check(engine: Engine, viewer: &str) -> Clause {
    let join = engine.ordered_join();
    Clause::new(
        format!(
            "(SELECT 1 FROM `group_bundle_permission` p {join} `user_group` g ON g.`group_uuid` = p.`group_uuid` \
             AND g.`user_id` = ? WHERE p.`object_uuid` = b.`uuid` AND p.`permission` >= 1 LIMIT 1) IS NOT NULL"
        ),
        params![viewer],
    )
}

pub(super) fn shared_entries(engine: Engine, viewer: &str) -> Entries {
    Entries::of(
        format!("`user_group` g {} `group_bundle_permission` p", engine.ordered_join()),
        Some("group_bundle_permission_group_index"),
        Clause::new(
            "g.`user_id` = ? AND p.`group_uuid` = g.`group_uuid` AND p.`permission` >= 1",
            params![viewer],
        ),
        Link::Uuid("p.`object_uuid`"),
    )
}

fn group_reads(group: domain::Uuid) -> Condition {
    let check = "(SELECT 1 FROM `group_bundle_permission` p WHERE p.`object_uuid` = b.`uuid` AND p.`group_uuid` = ? \
                 AND p.`permission` >= 1) IS NOT NULL";
    let entries = Entries::of(
        "`group_bundle_permission` p",
        Some("group_bundle_permission_group_index"),
        Clause::new("p.`group_uuid` = ? AND p.`permission` >= 1", params![group]),
        Link::Uuid("p.`object_uuid`"),
    );
    Condition::new(Clause::new(check, params![group]), exactly(entries))
}

fn floating() -> Condition {
    let check = "(SELECT 1 FROM `worksheet_item` i WHERE i.`bundle_uuid` = b.`uuid` LIMIT 1) IS NULL";
    let candidates = Entries {
        by_id: true,
        repeats: false,
        ..Entries::of(
            "`bundle_floating` f",
            None,
            Clause::new("1 = 1", params![]),
            Link::Id("f.`bundle_id`"),
        )
    };
    Condition::new(Clause::new(check, params![]), roughly(candidates))
}

fn host_worksheet(comparison: &Comparison) -> Condition {
    let compared = compare("i.`worksheet_uuid`", comparison);
    let entries = Entries::of(
        "`worksheet_item` i",
        Some("worksheet_item_order_index"),
        compared.clone().within("", " AND i.`bundle_uuid` IS NOT NULL"),
        Link::Uuid("i.`bundle_uuid`"),
    );
    let check = compared.within(
        "(SELECT 1 FROM `worksheet_item` i WHERE i.`bundle_uuid` = b.`uuid` AND ",
        " LIMIT 1) IS NOT NULL",
    );
    Condition::new(check, exactly(entries))
}

fn dependency(child_path: Option<&str>, parent: &Comparison) -> Condition {
    let mut compared = compare("d.`parent_uuid`", parent);
    if let Some(path) = child_path {
        compared = compared.then(Clause::new(
            " AND LOWER(d.`child_path`) = ?",
            params![path.to_lowercase()],
        ));
    }
    let entries = Entries::of(
        "`bundle_dependency` d",
        Some("bundle_dependency_parent_index"),
        compared.clone(),
        Link::Uuid("d.`child_uuid`"),
    );
    let check = compared.within(
        "(SELECT 1 FROM `bundle_dependency` d WHERE d.`child_uuid` = b.`uuid` AND ",
        " LIMIT 1) IS NOT NULL",
    );
    Condition::new(check, exactly(entries))
}

fn created(bound: Bound, time: i64) -> Condition {
    let operator = match bound {
        Bound::AtMost => "<=",
        Bound::AtLeast => ">=",
    };
    let check = Clause::new(format!("b.`created` {operator} ?"), params![time]);
    let ways = exactly(Entries::bundles("bundle_created_index", check.clone(), false));
    Condition {
        by_creation: true,
        ..Condition::new(check, ways)
    }
}

fn exists(field: &BundleField) -> Condition {
    let check = match field {
        BundleField::Column(_) => Clause::new("1 = 1", params![]),
        BundleField::Metadata(key) => match typed_column(key) {
            Some(column) => Clause::new(format!("{column} IS NOT NULL"), params![]),
            None => has_metadata(key, Clause::new("1 = 1", params![])),
        },
    };
    Condition::new(check, Vec::new())
}

/// The column of `bundle` that a metadata key is kept in as well.
pub(super) fn typed_column(key: &str) -> Option<&'static str> {
    match key {
        "name" => Some("b.`name`"),
        "created" => Some("b.`created`"),
        "data_size" => Some("b.`data_size`"),
        _ => None,
    }
}

fn field_is(field: &BundleField, comparison: &Comparison) -> Condition {
    match field {
        BundleField::Column(column) => column_is(*column, comparison),
        BundleField::Metadata(key) if key == "name" && fits(comparison) => name_is(comparison),
        BundleField::Metadata(key) => match (typed_column(key), comparison) {
            (Some(column), Comparison::Equals(text)) => match text.parse::<i64>() {
                Ok(number) if number.to_string() == *text => {
                    let index = if key == "created" {
                        "bundle_created_index"
                    } else {
                        "bundle_size_index"
                    };
                    let check = Clause::new(format!("{column} = ?"), params![number]);
                    Condition::new(check.clone(), exactly(Entries::bundles(index, check, true)))
                }
                _ => metadata_is(key, comparison),
            },
            _ => metadata_is(key, comparison),
        },
    }
}

/// Whether the column of names, which ends after 255 characters, decides the comparison.
fn fits(comparison: &Comparison) -> bool {
    let short = |text: &String| text.chars().count() < 255;
    match comparison {
        Comparison::Equals(text) => short(text),
        Comparison::AnyOf(texts) => texts.iter().all(short),
        Comparison::Like(_) => true,
    }
}

fn column_is(column: BundleColumn, comparison: &Comparison) -> Condition {
    let name = format!("b.`{}`", column.as_str());
    let lower = lowercase(comparison);
    match (column, &lower) {
        (BundleColumn::Id | BundleColumn::Uuid, Comparison::Equals(_)) => Condition::unique(compare(&name, &lower)),
        (BundleColumn::Uuid, Comparison::AnyOf(_)) => {
            let check = compare(&name, &lower);
            Condition::new(check.clone(), exactly(Entries::bundles(BUNDLE_UUID, check, false)))
        }
        (BundleColumn::Uuid, Comparison::Like(pattern)) => {
            let prefix = pattern.starts_with().map(str::to_ascii_lowercase);
            let ways = prefix.map(|prefix| roughly(uuids_from(&prefix))).unwrap_or_default();
            Condition::new(matches(&name, pattern), ways)
        }
        (BundleColumn::State, Comparison::Equals(_) | Comparison::AnyOf(_)) => {
            let check = compare(&name, &lower);
            let ordered = matches!(lower, Comparison::Equals(_));
            Condition::new(check.clone(), exactly(Entries::bundles("state_index", check, ordered)))
        }
        (BundleColumn::Command, Comparison::Equals(text)) => {
            let beginning: String = text.chars().take(191).collect();
            let check = Clause::new("b.`command_key` = ? AND b.`command` = ?", params![beginning, text]);
            Condition::new(
                check.clone(),
                exactly(Entries::bundles("bundle_command_index", check, false)),
            )
        }
        (BundleColumn::BundleType | BundleColumn::State, _) => Condition::new(compare(&name, &lower), Vec::new()),
        _ => Condition::new(compare(&name, comparison), Vec::new()),
    }
}

/// Bundles whose uuid begins so; the prefix is in lower case.
fn uuids_from(prefix: &str) -> Entries {
    let range = Clause::new("b.`uuid` >= ? AND b.`uuid` < ?", params![prefix, prefix_end(prefix)]);
    Entries::bundles(BUNDLE_UUID, range, false)
}

fn name_is(comparison: &Comparison) -> Condition {
    let check = compare("b.`name`", comparison);
    let ways = match comparison {
        Comparison::Equals(_) => exactly(Entries::bundles("bundle_name_index", check.clone(), true)),
        Comparison::AnyOf(_) => exactly(Entries::bundles("bundle_name_index", check.clone(), false)),
        Comparison::Like(pattern) => {
            let mut ways = name_pieces(pattern);
            if pattern.starts_with().is_some() {
                ways.extend(exactly(Entries::bundles("bundle_name_index", check.clone(), false)));
            }
            ways
        }
    };
    Condition::new(check, ways)
}

fn metadata_is(key: &str, comparison: &Comparison) -> Condition {
    let check = has_metadata(key, compare("m.`metadata_value`", comparison).within(" AND ", ""));
    let of_key = Clause::new("m.`metadata_key` = ?", params![key]);
    let beginning = |text: &str| text.chars().take(63).collect::<String>();
    let values = match comparison {
        Comparison::Equals(text) => {
            let short = Clause::new(" AND m.`value_key` = ?", params![beginning(text)]);
            if text.chars().count() < 63 {
                short
            } else {
                short.then(Clause::new(" AND m.`metadata_value` = ?", params![text]))
            }
        }
        Comparison::AnyOf(texts) => {
            let short: Vec<Value> = texts.iter().map(|text| beginning(text).into()).collect();
            Clause::new(format!(" AND m.`value_key` IN {}", list(short.len())), short)
                .then(compare("m.`metadata_value`", comparison).within(" AND ", ""))
        }
        Comparison::Like(pattern) => {
            let prefix = pattern
                .starts_with()
                .map(|text| Pattern::value(&format!("{}%", escaped(&beginning(text)))));
            let range = prefix.map(|prefix| matches("m.`value_key`", &prefix).within(" AND ", ""));
            range
                .unwrap_or_default()
                .then(matches("m.`metadata_value`", pattern).within(" AND ", ""))
        }
    };
    let entries = Entries {
        by_id: matches!(comparison, Comparison::Equals(_)),
        once: Some(
            "(SELECT 1 FROM `bundle_metadata` x WHERE x.`bundle_uuid` = m.`bundle_uuid` AND x.`metadata_key` = m.`metadata_key` \
             AND x.`metadata_value` = m.`metadata_value` AND x.`id` < m.`id` LIMIT 1) IS NULL",
        ),
        ..Entries::of(
            "`bundle_metadata` m",
            Some("metadata_search_index"),
            of_key.then(values),
            Link::Id("m.`bundle_id`"),
        )
    };
    Condition::new(check, exactly(entries))
}

/// The text as a pattern that matches only it.
fn escaped(text: &str) -> String {
    text.chars().flat_map(|char| ['\\', char]).collect()
}

/// The bundle has a row of this key for which more holds.
fn has_metadata(key: &str, more: Clause) -> Clause {
    let more = if more.sql == "1 = 1" { Clause::default() } else { more };
    Clause::new(
        "(SELECT 1 FROM `bundle_metadata` m WHERE m.`bundle_uuid` = b.`uuid` AND m.`metadata_key` = ?",
        params![key],
    )
    .then(more)
    .within("", " LIMIT 1) IS NOT NULL")
}

/// A bare word: in the uuid or in the name.
fn uuid_or_name(pattern: &Pattern) -> Condition {
    let name = matches("b.`name`", pattern);
    let of_uuids = |literal: &str| {
        literal
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'x' | b'X'))
    };
    if !pattern.literals().all(of_uuids) {
        return Condition::new(name, name_pieces(pattern));
    }
    let check = Clause::any([matches("b.`uuid`", pattern), name]);
    let Some(word) = pattern.as_contained_word().map(str::to_ascii_lowercase) else {
        return Condition::new(check, Vec::new());
    };
    if is_uuid(&word) {
        return Condition::unique(Clause::new("b.`uuid` = ?", params![word]));
    }
    let uuid_parts = match word.find('x') {
        // The only x of a uuid is its second character.
        Some(at) if at < 2 && !word[at + 1..].contains('x') && (at == 0 || word.starts_with('0')) => {
            vec![uuids_from(&format!("0x{}", &word[at + 1..]))]
        }
        Some(_) => return Condition::new(check, name_pieces(pattern)),
        // Five digits cover one whole piece, wherever they begin.
        None if word.len() >= 5 => (0..3)
            .map(|start| pieces(&format!("#{}", &word[start..start + 3])))
            .collect(),
        None => return Condition::new(check, Vec::new()),
    };
    let unions = grams(&word).into_iter().map(|gram| {
        let mut parts = uuid_parts.clone();
        parts.push(pieces(&gram));
        Way {
            access: Access::union(parts),
            exact: false,
        }
    });
    Condition::new(check, unions.collect())
}

/// Ways to the names that contain the literal texts of a pattern.
fn name_pieces(pattern: &Pattern) -> Vec<Way> {
    let literals = pattern.literals().flat_map(|literal| grams(&literal.to_lowercase()));
    literals
        .take(MOST_GRAMS)
        .flat_map(|gram| roughly(pieces(&gram)))
        .collect()
}

/// Most pieces of a word that are counted to find the rarest.
const MOST_GRAMS: usize = 6;

/// Some of the three-character pieces of a word, from all over it.
fn grams(word: &str) -> Vec<String> {
    let chars: Vec<char> = word.chars().collect();
    let all: Vec<String> = chars.windows(3).map(|window| window.iter().collect()).collect();
    let step = all.len().div_ceil(MOST_GRAMS).max(1);
    all.into_iter().step_by(step).collect()
}

fn pieces(gram: &str) -> Entries {
    Entries {
        by_id: true,
        repeats: false,
        ..Entries::of(
            "`bundle_gram` n",
            None,
            Clause::new("n.`gram` = ?", params![gram]),
            Link::Id("n.`bundle_id`"),
        )
    }
}

/// `=word`: in the uuid, the command or any metadata value. No index helps.
fn anywhere(pattern: &Pattern) -> Condition {
    if pattern.matches_everything() {
        return Condition::new(Clause::new("1 = 1", params![]), Vec::new());
    }
    let metadata = matches("m.`metadata_value`", pattern).within(
        "(SELECT 1 FROM `bundle_metadata` m WHERE m.`bundle_uuid` = b.`uuid` AND ",
        " LIMIT 1) IS NOT NULL",
    );
    let check = Clause::any([matches("b.`uuid`", pattern), matches("b.`command`", pattern), metadata]);
    Condition::new(check, Vec::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_to_uuids_only_where_uuids_can_contain_them() {
        for (word, ways, in_uuid) in [
            ("corpus", 4, false),
            ("0x12", 2, true),
            ("x12", 1, true),
            ("12345", 3, true),
            ("1234", 0, true),
            ("ab", 0, true),
            ("0x1x2", 3, true),
            ("1x2", 1, true),
        ] {
            let condition = uuid_or_name(&Pattern::contains(word));
            assert_eq!(
                (condition.ways.len(), condition.check.sql.contains("uuid")),
                (ways, in_uuid),
                "{word}"
            );
        }
        assert!(uuid_or_name(&Pattern::contains("0x00112233445566778899aabbccddeeff")).unique);
    }

    #[test]
    fn a_long_word_is_sampled_from_all_over() {
        assert_eq!(grams("ab"), Vec::<String>::new());
        assert_eq!(grams("abcd"), ["abc", "bcd"]);
        assert!(grams(&"abcdefghij".repeat(5)).len() <= MOST_GRAMS);
    }
}
