//! `cl status`: where am I, who am I.

use client::{Client, Object, Query};

use super::{Command, Group};
use crate::cli::{CLIENT_VERSION, Cli, home_worksheet};
use crate::error::Result;
use crate::parse::Parsed;
use crate::render::fields;

pub const COMMAND: Command = Command {
    name: "status",
    aliases: &["st"],
    group: Group::Other,
    summary: "Show the session: instance, user and current worksheet.",
    arguments: Vec::new,
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

async fn run(cli: &mut Cli, _parsed: &Parsed) -> Result<()> {
    let (name, session) = cli.session()?;
    let client = cli.client(&session.address)?;
    let user = client.fetch_one("user", Query::new());
    let (user, worksheet) = futures::try_join!(async { Ok(user.await?) }, sheet(&client, &session.worksheet_uuid))?;
    let is_web = cli.is_web();
    let username = if is_web {
        None
    } else {
        cli.state.login(&session.address)?.and_then(|(_, username)| username)
    };
    let ui = &mut cli.ui;
    let reference = fields::worksheet(
        &session.address,
        fields::field(&worksheet, "uuid"),
        fields::field(&worksheet, "name"),
    );
    let user = fields::user(Some(&user.into()));
    if is_web {
        ui.line(format!("current_worksheet: {reference}"))?;
        return ui.line(format!("user: {user}"));
    }
    ui.line(format!("codalab_home: {}", cli.home.dir.display()))?;
    ui.line(format!("session: {name}"))?;
    ui.line(format!("client_version: {CLIENT_VERSION}"))?;
    ui.line(format!(
        "server_version: {}",
        client.server_version().unwrap_or_else(|| "unknown".to_owned())
    ))?;
    ui.line(format!("address: {}", session.address))?;
    if let Some(username) = username {
        ui.line(format!("username: {username}"))?;
    }
    ui.line(format!("current_worksheet: {reference}"))?;
    ui.line(format!("user: {user}"))
}

async fn sheet(client: &Client, uuid: &str) -> Result<Object> {
    if uuid.is_empty() {
        return home_worksheet(client).await;
    }
    Ok(client.fetch_one(&format!("worksheets/{uuid}"), Query::new()).await?)
}
