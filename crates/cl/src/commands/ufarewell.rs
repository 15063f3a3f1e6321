//! `cl ufarewell`: delete an account.

use client::Query;

use super::{Command, Group};
use crate::accounts;
use crate::cli::Cli;
use crate::error::Result;
use crate::parse::{Argument, Arity, Parsed};
use crate::render::fields;

pub const COMMAND: Command = Command {
    name: "ufarewell",
    aliases: &[],
    group: Group::Users,
    summary: "Delete an account for good. It must not own anything any more.",
    arguments: || vec![Argument::positional("user_spec", Arity::One, "User name or id.")],
    run: |cli, parsed| Box::pin(run(cli, parsed)),
    passes_on: false,
};

async fn run(cli: &mut Cli, parsed: &Parsed) -> Result<()> {
    let client = cli.current_client()?;
    let user = accounts::user(&client, parsed.text("user_spec").unwrap_or_default()).await?;
    let (id, name) = (fields::field(&user, "id"), fields::field(&user, "user_name"));
    client.delete("users", Query::new(), &[id.to_owned()]).await?;
    cli.ui.line(format!("Deleted user {name}({id})."))
}
