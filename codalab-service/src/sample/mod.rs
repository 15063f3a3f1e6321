//! The sample worksheet: a worksheet with one example of everything that a worksheet can show, made and checked through a `cl`
//! executable. It is something to look at on a new instance, a fixture for tests of the web pages, and a test of what `cl print`
//! shows. Whatever is made carries the tag [`TAG`].

mod command;
mod expected;
mod rendering;
mod sheet;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use command::CommandLine;
use domain::error::Error;
use expected::{Expected, compare};
use sheet::{Parts, Sheet, parts_of};

/// The tag of everything that belongs to a sample worksheet.
pub const TAG: &str = "codalab-sample-worksheet";

/// What happens here goes wrong as a `cl` command does; the text says which.
pub type Result<T> = std::result::Result<T, Error>;

/// States of bundles that are still on their way.
const ON_THE_WAY: &str = "state=making,starting,preparing,running,finalizing,uploading";
/// The same with those that wait for a worker.
const UNFINISHED: &str = "state=created,staged,making,starting,preparing,running,finalizing,uploading";
/// How long runs may take.
const PATIENCE: Duration = Duration::from_secs(600);
const PAUSE: Duration = Duration::from_millis(500);
/// How many objects one clean-up command removes.
const AT_ONCE: usize = 1000;

/// What to make.
#[derive(Clone, Debug)]
pub struct Options {
    /// The command line to use: `cl`, or a path.
    pub cl: PathBuf,
    /// 100 objects per section instead of 3.
    pub large: bool,
    /// Refer to bundles and worksheets that exist where that is possible.
    pub preview: bool,
}

impl Options {
    fn name(&self) -> &'static str {
        if self.large {
            "cl_large_worksheet"
        } else {
            "cl_small_worksheet"
        }
    }

    fn title(&self) -> &'static str {
        if self.large {
            "Large Worksheet"
        } else {
            "Small Worksheet"
        }
    }

    fn count(&self) -> usize {
        if self.large { 100 } else { 3 }
    }
}

/// A sample worksheet on the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub uuid: String,
    /// False if there was one of that name already.
    pub is_new: bool,
}

/// Makes the sample worksheet, unless there is one.
pub fn create(options: &Options) -> Result<Made> {
    let cl = CommandLine::new(&options.cl)?;
    if let Some(uuid) = existing(&cl, options)? {
        return Ok(Made { uuid, is_new: false });
    }
    let parts = make_parts(&cl, options)?;
    let source = Sheet::new(options.title(), &parts).source.join("\n") + "\n";
    let uuid = new_worksheet(&cl, options.name(), options.title())?;
    let file = cl.file("sample.md", source.as_bytes())?;
    cl.run(&["wedit", &uuid, "-f", &file])?;
    Ok(Made { uuid, is_new: true })
}

/// Waits for the runs of the sample worksheet, prints it, and compares every line.
pub fn test_print(options: &Options) -> Result<()> {
    let cl = CommandLine::new(&options.cl)?;
    let uuid = existing(&cl, options)?
        .ok_or_else(|| Error::not_found(format!("there is no worksheet named {} to print", options.name())))?;
    await_bundles(&cl, UNFINISHED)?;
    let source = cl.run(&["print", "-r", &uuid])?;
    let parts = parts_of(&source.lines().map(str::to_owned).collect::<Vec<_>>());
    let mut expected = description(&uuid, options);
    expected.extend(Sheet::new(options.title(), &parts).expected);
    let printed = cl.run(&["print", &uuid])?;
    compare(&printed, &expected)
        .map_err(|difference| Error::usage(format!("cl print {uuid} shows something else: {difference}")))
}

/// Removes everything that carries the tag and is the caller's own. Gives the numbers of bundles and of worksheets.
pub fn clean_up(options: &Options) -> Result<(usize, usize)> {
    let cl = CommandLine::new(&options.cl)?;
    await_bundles(&cl, ON_THE_WAY)?;
    let bundles = remove_all(
        &cl,
        &["search", "-u", ".mine", &format!("tags={TAG}")],
        &["rm", "--force"],
    )?;
    let worksheets = remove_all(&cl, &["wls", "-u", ".mine", &format!("tag={TAG}")], &["wrm", "--force"])?;
    Ok((bundles, worksheets))
}

fn existing(cl: &CommandLine, options: &Options) -> Result<Option<String>> {
    let found = cl.uuids(&["wls", "-u", &format!("name={}", options.name())])?;
    Ok(found.into_iter().next())
}

fn make_parts(cl: &CommandLine, options: &Options) -> Result<Parts> {
    let limit = format!(".limit={}", options.count());
    let mut parts = Parts {
        limit: options.count(),
        ..Parts::default()
    };
    for number in 1..=options.count() {
        let (worksheet, run) = make_pair(cl, options, "private", "Private Worksheet", number)?;
        cl.run(&["wperm", &worksheet, "public", "none"])?;
        cl.run(&["perm", &run, "public", "none"])?;
        parts.private_worksheets.push(worksheet);
        parts.private_bundles.push(run);
    }
    if options.preview {
        parts.worksheets = cl.uuids(&["wls", "-u", &limit])?;
        parts.bundles = cl.uuids(&["search", "-u", "type=run", &limit])?;
    } else {
        for number in 1..=options.count() {
            let (worksheet, run) = make_pair(cl, options, "other", "Other Worksheet", number)?;
            parts.worksheets.push(worksheet);
            parts.bundles.push(run);
        }
    }
    let home = &parts.private_worksheets[0];
    parts.images = files(cl, options, home, "sample.png", PNG)?;
    parts.pages = files(
        cl,
        options,
        home,
        "sample.html",
        b"<p>A page of the sample worksheet.</p>\n",
    )?;
    parts.tables = files(cl, options, home, "sample.tsv", b"0\t1.0\n1\t0.5\n2\t0.25\n")?;
    Ok(parts)
}

/// A worksheet with a run on it.
fn make_pair(cl: &CommandLine, options: &Options, kind: &str, title: &str, number: usize) -> Result<(String, String)> {
    let name = format!("{}_{kind}_{number}", options.name());
    let worksheet = new_worksheet(cl, &name, &format!("{title} {number}"))?;
    let mut arguments = vec![
        "run",
        "echo codalab rules!",
        "-w",
        &worksheet,
        "--request-memory",
        "10m",
    ];
    arguments.extend(["--request-docker-image", "python:3.6.10-slim-buster", "--tags", TAG]);
    let run = cl.uuid(&arguments)?;
    Ok((worksheet, run))
}

fn new_worksheet(cl: &CommandLine, name: &str, title: &str) -> Result<String> {
    let uuid = cl.uuid(&["new", name]).map_err(|error| {
        Error::usage(format!(
            "{error}\nIf {name} is left from an interrupted run of this command, remove it with --cleanup."
        ))
    })?;
    cl.run(&["wedit", &uuid, "--title", title, "--tags", TAG])?;
    Ok(uuid)
}

/// Bundles whose name has the ending of `name`; if there are not enough, the file is uploaded. A preview is content with one.
fn files(cl: &CommandLine, options: &Options, worksheet: &str, name: &str, contents: &[u8]) -> Result<Vec<String>> {
    let ending = &name[name.find('.').unwrap_or_default()..];
    let limit = format!(".limit={}", options.count());
    let mut found = cl.uuids(&["search", "-u", ending, "type=dataset", "state=ready", &limit])?;
    let wanted = if options.preview { 1 } else { options.count() };
    if found.len() < wanted {
        let file = cl.file(name, contents)?;
        while found.len() < wanted {
            found.push(cl.uuid(&["upload", &file, "-w", worksheet, "--tags", TAG])?);
        }
    }
    Ok(found)
}

/// The first lines that `cl print` shows.
fn description(uuid: &str, options: &Options) -> Vec<Expected> {
    vec![
        Expected::like(format!("### Worksheet: .*{uuid}.* \\({}\\)", options.name())),
        Expected::is(&format!("### Title: {}", options.title())),
        Expected::is(&format!("### Tags: {TAG}")),
        Expected::like("### Owner: .+"),
        Expected::like("### Permissions: (.*,)?public\\(0x[0-9a-f]{6}\\):read(,.*)?"),
    ]
}

/// Waits until no tagged bundle is in one of these states.
fn await_bundles(cl: &CommandLine, states: &str) -> Result<()> {
    let tag = format!("tags={TAG}");
    let start = Instant::now();
    loop {
        let left = cl.uuids(&["search", "-u", ".mine", &tag, states])?;
        let Some(one) = left.first() else {
            return Ok(());
        };
        if start.elapsed() > PATIENCE {
            return Err(Error::usage(format!(
                "{one} and maybe others have not finished within {} s; see cl info {one}, or end them with cl kill",
                PATIENCE.as_secs()
            )));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Removes what a search finds until it finds nothing.
fn remove_all(cl: &CommandLine, search: &[&str], remove: &[&str]) -> Result<usize> {
    let limit = format!(".limit={AT_ONCE}");
    let mut removed = 0;
    loop {
        let found = cl.uuids(&[search, &[&limit]].concat())?;
        if found.is_empty() {
            return Ok(removed);
        }
        let uuids: Vec<&str> = found.iter().map(String::as_str).collect();
        cl.run(&[remove, &uuids].concat())?;
        removed += found.len();
    }
}

/// A red square of 8 × 8 pixels.
const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0x00, 0x00, 0x00, 0x0d, 0x49, 0x48, 0x44, 0x52, 0x00, 0x00, 0x00,
    0x08, 0x00, 0x00, 0x00, 0x08, 0x08, 0x02, 0x00, 0x00, 0x00, 0x4b, 0x6d, 0x29, 0xdc, 0x00, 0x00, 0x00, 0x11, 0x49,
    0x44, 0x41, 0x54, 0x78, 0xda, 0x63, 0xf8, 0xcf, 0xc0, 0x80, 0x15, 0x31, 0x0c, 0x2d, 0x09, 0x00, 0x28, 0xff, 0x3f,
    0xc1, 0xce, 0x77, 0xc8, 0x4f, 0x00, 0x00, 0x00, 0x00, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];
