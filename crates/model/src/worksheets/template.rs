//! First contents of the worksheets named `dashboard` and `home` (data-model section 14.6).

use domain::worksheet::Item;

/// What a worksheet of a special name starts with.
pub(super) struct Template {
    pub(super) title: &'static str,
    pub(super) items: Vec<Item>,
}

/// The template for a worksheet name, if it has one.
pub(super) fn for_name(name: &str) -> Option<Template> {
    let (title, source) = match name {
        "dashboard" => ("CodaLab Dashboard", DASHBOARD),
        "home" => ("Public Home", HOME),
        _ => return None,
    };
    let items = source.lines().map(|line| match line.strip_prefix("% ") {
        Some(directive) => Item::directive(directive),
        None => Item::markup(line),
    });
    Some(Template {
        title,
        items: items.collect(),
    })
}

const DASHBOARD: &str = "\
Everything of yours in one place. Only you can change this worksheet.
## Worksheets
% wsearch .mine
## Runs
% schema run
% add uuid uuid [0:8]
% add name
% add owner owner_name
% add created created date
% add time time duration
% add state
Running:
% display table run
% search state=running created=.sort- .limit=10000 .mine
Waiting:
% display table run
% search state=staged created=.sort- .limit=10000 .mine
## Latest bundles
% search id=.sort- .limit=5 .mine
## Bundles on no worksheet
% search .mine .floating
## Usage
Number of bundles:
% search .mine .count
Size of all bundles:
% search .mine size=.sum .format=size";

const HOME: &str = "\
Welcome. This page shows what happens on this CodaLab instance.
## Pending bundles
% search state=created,staged,making,starting,running id=.sort- .limit=10000
## Latest bundles
% search id=.sort- .limit=10
## Worksheets
% wsearch
## Size of this instance
Number of bundles:
% search .count
Size of all bundles:
% search size=.sum .format=size";
