//! Which of the routes a request target means. Pure.

/// A route, with the worker id exactly as it stands in the target.
#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    Main,
    Worker(String),
    Events,
    Other,
}

/// `target` is the raw path with its query string; percent escapes stay as they are. First match wins.
pub fn parse(target: &str) -> Route {
    const WORKER: &str = "/worker/";
    if target.ends_with("/main") {
        return Route::Main;
    }
    // "Last occurrence followed by at least one character": a target that ends in `/worker/` may have an earlier one.
    let mut end = target.len();
    while let Some(at) = target[..end].rfind(WORKER) {
        let id = &target[at + WORKER.len()..];
        if !id.is_empty() {
            return Route::Worker(id.to_owned());
        }
        end = at + WORKER.len() - 1;
    }
    if target.ends_with("/events") {
        Route::Events
    } else {
        Route::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_matched_raw_and_first_match_wins() {
        let worker = |id: &str| Route::Worker(id.to_owned());
        let cases = [
            ("/main", Route::Main),
            ("/ws/main", Route::Main),
            ("/worker/x/main", Route::Main),
            ("/worker/lab-42(7)", worker("lab-42(7)")),
            ("/ws/worker/lab-42(7)", worker("lab-42(7)")),
            ("//ws/worker/x", worker("x")),
            ("/ws/worker/a%20b?c=d", worker("a%20b?c=d")),
            ("/worker/a/worker/b", worker("b")),
            ("/worker/a/worker/", worker("a/worker/")),
            ("/worker//worker/", worker("/worker/")),
            ("/worker/x/events", worker("x/events")),
            ("/worker/", Route::Other),
            ("/worker", Route::Other),
            ("/events", Route::Events),
            ("/ws/events", Route::Events),
            ("/", Route::Other),
            ("", Route::Other),
            ("/mainly", Route::Other),
        ];
        for (target, route) in cases {
            assert_eq!(parse(target), route, "{target}");
        }
    }
}
