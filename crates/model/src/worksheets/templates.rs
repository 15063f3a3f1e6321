//! The worksheets that are filled when they are made (data-model section 14.6).

use domain::worksheet::Item;

/// Title and items of a special worksheet.
pub(super) struct Template {
    pub(super) title: &'static str,
    pub(super) items: Vec<Item>,
}

// Directives stand here in the form in which they are stored: each token quoted as a shell needs it.

const DASHBOARD: &str = "\
Welcome. This page shows what is yours, and what your runs are doing. Edit its source to make it your own.
`cl help` lists the commands of the command line, [this page](/rest/docs) the requests of the API.

## **My worksheets**
% wsearch .mine

## **My running bundles**
% schema r
% add uuid uuid '[0:8]'
% add name
% add owner
% add created created date
% add time time duration
% add state

Running:
% display table r
% search state=running created=.sort- .limit=10000 .mine

Waiting for a worker:
% display table r
% search state=staged created=.sort- .limit=10000 .mine

## **My recent bundles**
% search id=.sort- .limit=5 .mine

## **My floating bundles**
Bundles on no worksheet:
% search .mine .floating

## **Basic statistics**
Number of bundles:
% search .mine .count

Disk usage:
% search .mine size=.sum .format=size";

const HOME: &str = "\
Welcome. This page shows what everybody may see on this server, the newest first.

## **Pending bundles**
% display table run owner
% search state=created,staged,making,starting,running id=.sort- .limit=10000

## **Recent bundles**
% display table default owner
% search id=.sort- .limit=10

## **Worksheets**
% wsearch

## **Basic statistics**
Number of bundles:
% search .count

Disk usage:
% search size=.sum .format=size";

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
