//! What a command works with: output, configuration, session, clients, and the resolution of specs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, Endpoint, Object, Options, Query};
use domain::id::is_uuid;
use domain::spec::{InstanceSpec, TargetSpec, expand_ranges};
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::config::{Home, Session, Settings, StateFile, session_name};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::login::CachedLogin;
use crate::render::fields::text;
use crate::ui::Ui;

/// Version of the protocol and of the command set.
pub const CLIENT_VERSION: &str = "1.7.3";

/// State of one command.
pub struct Cli {
    /// Output.
    pub ui: Ui,
    /// What the browser is to do besides showing the output; only in the web terminal.
    pub structured: Option<Value>,
    /// Environment variables.
    pub environment: Environment,
    /// The client's files.
    pub home: Home,
    /// `state.json`.
    pub state: StateFile,
    settings: Option<Settings>,
    session: Option<(String, Session)>,
    clients: HashMap<String, Client>,
    zone: Option<TimeZone>,
    is_web: bool,
}

/// A worksheet on an instance.
#[derive(Clone, Debug)]
pub struct Worksheet {
    /// Client of the instance.
    pub client: Client,
    /// The worksheet.
    pub uuid: String,
}

/// A place inside a bundle on an instance.
#[derive(Clone, Debug)]
pub struct Target {
    /// Client of the instance.
    pub client: Client,
    /// The bundle.
    pub uuid: String,
    /// Empty for the whole bundle.
    pub subpath: String,
}

impl Cli {
    /// Reads nothing before it is needed.
    pub fn new(ui: Ui, environment: Environment) -> Self {
        let home = Home::locate(|name| environment.get(name));
        let state = StateFile::new(&home);
        Self {
            ui,
            structured: None,
            environment,
            home,
            state,
            settings: None,
            session: None,
            clients: HashMap::new(),
            zone: None,
            is_web: false,
        }
    }

    /// For one command of the web terminal: one instance, which `client` calls as the user, and one worksheet (the home
    /// worksheet if it is empty). No files, no environment, and a session that ends with the command.
    pub fn web(ui: Ui, client: Client, worksheet_uuid: &str) -> Self {
        let address = client.address().to_owned();
        let session = Session {
            address: address.clone(),
            worksheet_uuid: worksheet_uuid.to_owned(),
        };
        let mut cli = Self::new(ui, Environment::fixed::<&str, &str>([]));
        cli.session = Some(("temporary".to_owned(), session));
        cli.clients.insert(address, client);
        cli.zone = Some(TimeZone::UTC);
        cli.is_web = true;
        cli
    }

    /// True in the web terminal: there is no file system, editor, browser or configuration.
    pub fn is_web(&self) -> bool {
        self.is_web
    }

    /// Refuses what reads or writes files of this machine, where the machine is not the user's.
    pub fn needs_files(&self, what: &str) -> Result<()> {
        if self.is_web {
            return Err(Error::usage(format!(
                "{what} is not possible here: there are no files."
            )));
        }
        Ok(())
    }

    /// Lets the browser open bundles, in the web terminal.
    pub fn open_bundles<'a>(&mut self, uuids: impl IntoIterator<Item = &'a str>) {
        self.ui_actions("openBundle", uuids);
    }

    /// Lets the browser open worksheets, in the web terminal.
    pub fn open_worksheets<'a>(&mut self, uuids: impl IntoIterator<Item = &'a str>) {
        self.ui_actions("openWorksheet", uuids);
    }

    fn ui_actions<'a>(&mut self, action: &str, uuids: impl IntoIterator<Item = &'a str>) {
        let actions: Vec<Value> = uuids.into_iter().map(|uuid| json!([action, uuid])).collect();
        if self.is_web {
            self.structured = Some(json!({"ui_actions": actions}));
        }
    }

    /// Tells the browser what the short uuids of a table stand for, in the web terminal: uuid and name each.
    pub fn refer_to<'a>(&mut self, kind: &str, objects: impl IntoIterator<Item = (&'a str, &'a str)>) {
        if !self.is_web {
            return;
        }
        let refs: Object = objects
            .into_iter()
            .filter_map(|(uuid, name)| {
                let short = uuid.get(..8)?.to_owned();
                Some((short, json!({"type": kind, "uuid": uuid, "name": name})))
            })
            .collect();
        self.structured = Some(json!({"refs": refs}));
    }

    /// The configuration; created on first use.
    pub fn settings(&mut self) -> Result<&mut Settings> {
        if self.settings.is_none() {
            let (settings, created) = Settings::load(&self.home)?;
            self.settings = Some(settings);
            if created {
                let dir = self
                    .home
                    .config
                    .parent()
                    .unwrap_or(&self.home.dir)
                    .display()
                    .to_string();
                self.ui.notice("Welcome to the CodaLab CLI!");
                self.ui.notice(format!("Configuration and state are kept in {dir}."));
            }
        }
        self.settings
            .as_mut()
            .ok_or_else(|| Error::other("the configuration was just loaded"))
    }

    /// Name and contents of the session.
    pub fn session(&mut self) -> Result<(String, Session)> {
        if let Some(session) = &self.session {
            return Ok(session.clone());
        }
        let name = session_name(self.environment.text("CODALAB_SESSION").as_deref());
        let session = if let Some(session) = self.state.session(&name)? {
            session
        } else {
            let settings = self.settings()?;
            Session {
                address: settings.default_address(),
                worksheet_uuid: settings.default_worksheet(),
            }
        };
        self.session = Some((name.clone(), session.clone()));
        Ok((name, session))
    }

    /// Moves the session to another worksheet.
    pub fn switch(&mut self, worksheet: &Worksheet) -> Result<()> {
        let (name, _) = self.session()?;
        let address = worksheet.client.address().to_owned();
        let session = Session {
            address,
            worksheet_uuid: worksheet.uuid.clone(),
        };
        if !self.is_web {
            self.state.set_session(&name, &session)?;
        }
        self.session = Some((name, session));
        Ok(())
    }

    /// The address behind an alias; anything else is an address already.
    pub fn address(&mut self, instance: &str) -> Result<String> {
        if self.is_web {
            return Err(Error::usage("Cannot use alias on web CLI"));
        }
        Ok(self.settings()?.address(instance))
    }

    /// A client of an instance.
    pub fn client(&mut self, address: &str) -> Result<Client> {
        if let Some(client) = self.clients.get(address) {
            return Ok(client.clone());
        }
        if self.is_web {
            // Whatever a command has in mind: a server calls no other one in the name of a user.
            return Err(Error::usage("Other instances cannot be reached from here."));
        }
        let session = self.session()?;
        let seconds = self
            .environment
            .text("CODALAB_URLOPEN_TIMEOUT_SECONDS")
            .and_then(|text| text.parse().ok());
        let options = Options {
            timeout: Duration::from_secs(seconds.unwrap_or(300)),
            headers: self.settings()?.extra_headers(address),
            user_agent: format!("cl/{CLIENT_VERSION}"),
            ..Options::default()
        };
        let endpoint = Endpoint::new(address, options)?;
        let login = CachedLogin::new(self.state.clone(), self.environment.clone(), session);
        let client = Client::new(endpoint, Arc::new(login));
        self.clients.insert(address.to_owned(), client.clone());
        Ok(client)
    }

    /// The client of the session's instance.
    pub fn current_client(&mut self) -> Result<Client> {
        let (_, session) = self.session()?;
        self.client(&session.address)
    }

    /// All clients that were used.
    pub fn used_clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.values()
    }

    /// The session's worksheet: the home worksheet if none was chosen.
    pub async fn current_worksheet(&mut self) -> Result<Worksheet> {
        let (_, session) = self.session()?;
        let client = self.client(&session.address)?;
        let uuid = match session.worksheet_uuid {
            uuid if uuid.is_empty() => resolve_worksheet(&client, "/", None).await?,
            uuid => uuid,
        };
        Ok(Worksheet { client, uuid })
    }

    /// The worksheet of a spec; the current one if there is none.
    pub async fn worksheet(&mut self, spec: Option<&str>) -> Result<Worksheet> {
        let spec = spec.unwrap_or("");
        if matches!(spec, "" | ".") {
            return self.current_worksheet().await;
        }
        let parsed = InstanceSpec::parse(spec);
        if let Some(instance) = parsed.instance {
            let address = self.address(instance)?;
            let client = self.client(&address)?;
            let name = if parsed.worksheet.is_empty() {
                "/"
            } else {
                parsed.worksheet
            };
            let uuid = resolve_worksheet(&client, name, None).await?;
            return Ok(Worksheet { client, uuid });
        }
        let (_, session) = self.session()?;
        let client = self.client(&session.address)?;
        let base = Some(session.worksheet_uuid).filter(|uuid| !uuid.is_empty() && spec != "/");
        let uuid = resolve_worksheet(&client, parsed.worksheet, base.as_deref()).await?;
        Ok(Worksheet { client, uuid })
    }

    /// The place a target spec names. `remote`: an instance part is allowed.
    pub async fn target(&mut self, spec: &str, worksheet: &Worksheet, remote: bool) -> Result<Target> {
        let mut targets = self.targets(&[TargetSpec::parse(spec)?], worksheet, remote).await?;
        Ok(targets.remove(0))
    }

    /// The places that target specs name, in order; neighbours on the same worksheet are resolved in one request.
    pub async fn targets(&mut self, specs: &[TargetSpec], worksheet: &Worksheet, remote: bool) -> Result<Vec<Target>> {
        let mut targets = Vec::with_capacity(specs.len());
        let mut rest = specs;
        while let [head, ..] = rest {
            let same = |spec: &&TargetSpec| spec.instance == head.instance && spec.worksheet == head.worksheet;
            let (group, others) = rest.split_at(rest.iter().take_while(same).count());
            let place = self.place_of(head, worksheet, remote).await?;
            let names: Vec<&str> = group.iter().map(|spec| spec.bundle.as_str()).collect();
            let uuids = resolve_bundles(&place.client, &place.uuid, &names).await?;
            targets.extend(group.iter().zip(uuids).map(|(spec, uuid)| Target {
                client: place.client.clone(),
                uuid,
                subpath: spec.path().to_owned(),
            }));
            rest = others;
        }
        Ok(targets)
    }

    /// The bundles of target specs without subpath, ranges expanded, all on one instance.
    pub async fn bundles(&mut self, specs: &[String], worksheet: &Worksheet) -> Result<(Client, Vec<String>)> {
        let mut parsed = Vec::new();
        for spec in &expand_ranges(specs) {
            let target = TargetSpec::parse(spec)?;
            if !target.path().is_empty() {
                return Err(Error::usage(format!(
                    "{spec} is a path inside bundle {}, but this command works on whole bundles; \
                     for a bundle on another worksheet write <worksheet>//<bundle>",
                    target.bundle
                )));
            }
            parsed.push(target);
        }
        let targets = self.targets(&parsed, worksheet, true).await?;
        let client = targets
            .first()
            .map_or_else(|| worksheet.client.clone(), |target| target.client.clone());
        if targets.iter().any(|target| target.client.address() != client.address()) {
            return Err(Error::usage(
                "All bundles must be on the same instance; give one command per instance.",
            ));
        }
        Ok((client, targets.into_iter().map(|target| target.uuid).collect()))
    }

    /// The bundles of `mimic` and `macro`: target specs, or bundle specs of the old form `worksheet/bundle`; all on the
    /// instance of the worksheet.
    pub async fn bundles_of_either_form(&mut self, specs: &[String], worksheet: &Worksheet) -> Result<Vec<String>> {
        let parsed = specs
            .iter()
            .map(|spec| TargetSpec::parse(spec))
            .collect::<domain::Result<Vec<_>>>()?;
        match self.targets(&parsed, worksheet, false).await {
            Ok(targets) => Ok(targets.into_iter().map(|target| target.uuid).collect()),
            Err(error) if error.is_not_found() => {
                let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
                resolve_bundles(&worksheet.client, &worksheet.uuid, &specs).await
            }
            Err(error) => Err(error),
        }
    }

    /// The user's time zone.
    pub fn zone(&mut self) -> TimeZone {
        self.zone.get_or_insert_with(TimeZone::system).clone()
    }

    async fn place_of(&mut self, target: &TargetSpec, worksheet: &Worksheet, remote: bool) -> Result<Worksheet> {
        let client = match &target.instance {
            Some(instance) if !remote => {
                return Err(Error::usage(format!(
                    "Cannot execute command on a target on another instance. Leave out {instance}::, and copy the \
                     bundle with cl add bundle if it is not on this instance yet."
                )));
            }
            Some(instance) => {
                let address = self.address(instance)?;
                self.client(&address)?
            }
            None => worksheet.client.clone(),
        };
        let uuid = match &target.worksheet {
            Some(spec) if spec == "." => worksheet.uuid.clone(),
            Some(spec) => resolve_worksheet(&client, if spec.is_empty() { "/" } else { spec }, None).await?,
            None if client.address() == worksheet.client.address() => worksheet.uuid.clone(),
            // Another instance does not know the worksheet; only uuids and prefixes resolve there.
            None => String::new(),
        };
        Ok(Worksheet { client, uuid })
    }
}

/// The uuid behind a worksheet spec without instance.
async fn resolve_worksheet(client: &Client, spec: &str, base: Option<&str>) -> Result<String> {
    if is_uuid(spec) {
        return Ok(spec.to_owned());
    }
    let query = Query::new().with_option("base", base).with("specs", spec);
    let found = client.fetch_one("worksheets", query).await?;
    uuid_of(client, &found)
}

/// The home worksheet as the server lists it: uuid and name.
pub async fn home_worksheet(client: &Client) -> Result<Object> {
    Ok(client.fetch_one("worksheets", Query::new().with("specs", "/")).await?)
}

/// The uuids behind bundle specs, in order; one request for all that are not uuids already.
async fn resolve_bundles(client: &Client, worksheet: &str, specs: &[&str]) -> Result<Vec<String>> {
    let unknown: Vec<&str> = specs.iter().copied().filter(|spec| !is_uuid(spec)).collect();
    if unknown.is_empty() {
        return Ok(specs.iter().map(|&spec| spec.to_owned()).collect());
    }
    let mut query = Query::new().with_all("specs", &unknown);
    if !worksheet.is_empty() {
        query = query.with("worksheet", worksheet);
    }
    let found = client.fetch_list("bundles", query).await?;
    if found.len() != unknown.len() {
        let reason = format!("{} bundles for {} specs", found.len(), unknown.len());
        return Err(client::Error::BadAnswer {
            address: client.address().to_owned(),
            reason,
        }
        .into());
    }
    let mut found = found.iter();
    let mut uuids = Vec::with_capacity(specs.len());
    for &spec in specs {
        match if is_uuid(spec) { None } else { found.next() } {
            Some(object) => uuids.push(uuid_of(client, object)?),
            None => uuids.push(spec.to_owned()),
        }
    }
    Ok(uuids)
}

/// The uuid of an object, checked.
pub fn uuid_of(client: &Client, object: &Object) -> Result<String> {
    let uuid = object.get("uuid").or_else(|| object.get("id"));
    match text(uuid) {
        Some(uuid) if is_uuid(uuid) => Ok(uuid.to_owned()),
        _ => {
            let reason = "an object without uuid".to_owned();
            Err(client::Error::BadAnswer {
                address: client.address().to_owned(),
                reason,
            }
            .into())
        }
    }
}
