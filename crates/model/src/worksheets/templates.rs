//! The worksheets that are filled when they are made (data-model section 14.6).

use domain::worksheet::Item;

/// Title and items of a special worksheet.
pub(super) struct Template {
    pub(super) title: &'static str,
    pub(super) items: Vec<Item>,
}

const DASHBOARD: &str = "\
## Your dashboard
What belongs to you, and what your runs are doing.

### Worksheets
% wsearch .mine

### Runs in progress
% schema jobs
% add uuid uuid [0:8]
% add name
% add owner owner_name
% add created created date
% add time time duration
% add state
% display table jobs
Running:
% search state=running created=.sort- .limit=10000 .mine
Waiting for a worker:
% search state=staged created=.sort- .limit=10000 .mine

### Latest bundles
% search id=.sort- .limit=5 .mine

### Bundles on no worksheet
% search .mine .floating

### Usage
Number of bundles:
% search .mine .count
Bytes stored:
% search .mine size=.sum .format=size";

const HOME: &str = "\
## Welcome
This page shows what everybody may see on this server.

### Runs in progress
% search state=created,staged,making,starting,running id=.sort- .limit=10000

### Latest bundles
% search id=.sort- .limit=10

### Worksheets
% wsearch

### Totals
Number of bundles:
% search .count
Bytes stored:
% search size=.sum .format=size

### Also new
% search id=.sort- .limit=10";

/// The template of a worksheet with this name.
pub(super) fn template(name: &str) -> Option<Template> {
    let (title, text) = match name {
        "dashboard" => ("CodaLab Dashboard", DASHBOARD),
        "home" => ("Public Home", HOME),
        _ => return None,
    };
    let item = |line: &str| match line.strip_prefix("% ") {
        Some(directive) => Item::directive(directive),
        None => Item::markup(line),
    };
    Some(Template {
        title,
        items: text.lines().map(item).collect(),
    })
}
