//! The permission matrix: every route × every role, outside and inside protected mode. `table.txt` says what is expected;
//! `requests` says what is asked.

mod requests;
mod scene;

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::Value;

use self::requests::Request;
use self::scene::Scene;

const TABLE: &str = include_str!("table.txt");

/// Who asks, in the order of the table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Anonymous,
    Stranger,
    Reader,
    Writer,
    Owner,
    Root,
    Worker,
}

impl Role {
    pub const ALL: [Self; 7] = [
        Self::Anonymous,
        Self::Stranger,
        Self::Reader,
        Self::Writer,
        Self::Owner,
        Self::Root,
        Self::Worker,
    ];
}

/// How the server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Usual,
    /// Protected; every account has been given access.
    ProtectedWithAccess,
    /// Protected; only root has access.
    ProtectedWithoutAccess,
}

/// One line of the table.
struct Row {
    route: String,
    protected: bool,
    cells: Vec<&'static str>,
}

impl Row {
    fn parse(line: &'static str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(
            words.len(),
            3 + Role::ALL.len(),
            "a row has another number of columns: {line}"
        );
        let protected = match words[2] {
            "prot" => true,
            "open" | "login" => false,
            other => panic!("unknown guard {other}: {line}"),
        };
        Self {
            route: format!("{} {}", words[0], words[1]),
            protected,
            cells: words[3..].to_vec(),
        }
    }

    fn expected(&self, role: Role, mode: Mode) -> &'static str {
        let has_access = match mode {
            Mode::Usual => true,
            Mode::ProtectedWithAccess => role != Role::Anonymous,
            Mode::ProtectedWithoutAccess => role == Role::Root,
        };
        if self.protected && !has_access {
            return "401";
        }
        self.cells[Role::ALL.iter().position(|one| *one == role).unwrap()]
    }
}

fn rows() -> Vec<Row> {
    TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(Row::parse)
        .collect()
}

#[test]
fn every_route_of_the_router_has_a_row_and_every_row_a_route() {
    let routes: BTreeSet<String> = rest_server::routes::index().iter().map(ToString::to_string).collect();
    let rows: BTreeSet<String> = rows().into_iter().map(|row| row.route).collect();
    let missing: Vec<&String> = routes.difference(&rows).collect();
    let stale: Vec<&String> = rows.difference(&routes).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "add rows to tests/api/permission_matrix/table.txt for {missing:#?}; remove those of {stale:#?}"
    );
}

#[tokio::test]
async fn every_role_gets_what_the_table_says() {
    check(Mode::Usual).await;
}

#[tokio::test]
async fn in_protected_mode_users_with_access_get_what_the_table_says_and_the_public_nothing() {
    check(Mode::ProtectedWithAccess).await;
}

#[tokio::test]
async fn in_protected_mode_users_without_access_get_nothing() {
    check(Mode::ProtectedWithoutAccess).await;
}

async fn check(mode: Mode) {
    let scene = Scene::new(mode).await;
    let mut wrong = Vec::new();
    for row in rows() {
        // What was refused, or only read, leaves the objects as they were.
        let mut objects = None;
        for role in Role::ALL {
            let current = match objects.take() {
                Some(objects) => objects,
                None => scene.objects().await,
            };
            let expected = row.expected(role, mode);
            let request = requests::request(&row.route, &scene, &current);
            let before = scene.snapshot(&current).await;
            let (status, body) = scene.ask(role, &request).await;
            if let Some(complaint) = judge(expected, status, &body, &request) {
                wrong.push(format!(
                    "{} as {role:?}: expected {expected}, got {complaint}",
                    row.route
                ));
            }
            let refused = status.is_client_error();
            if refused {
                let after = scene.snapshot(&current).await;
                if before != after {
                    wrong.push(format!("{} as {role:?}: refused, but something changed", row.route));
                }
            }
            if refused || row.route.starts_with("GET ") {
                objects = Some(current);
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{mode:?}: {} cells are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What is wrong with an answer, if anything.
fn judge(expected: &str, status: StatusCode, body: &Value, request: &Request) -> Option<String> {
    let text = body.to_string();
    let lacks_permission = text.contains("sufficient permissions");
    let right = match expected {
        "hide" | "own" => status == 200 && !scene::shows_secrets(&text),
        "ok403" => status == 403 && !lacks_permission,
        "200" if request.shows_object => status == 200 && scene::shows_secrets(&text),
        number => status.as_u16().to_string() == number,
    };
    let short: String = text.chars().take(300).collect();
    (!right).then(|| format!("{} {short}", status.as_u16()))
}
