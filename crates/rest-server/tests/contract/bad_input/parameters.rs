//! Paths and query strings: every parameter wrong, missing, huge, repeated, of another type, broken.

use crate::bad_input::{on_both, targets};
use crate::wire;

/// Every query parameter that the API document names.
const PARAMETERS: &[&str] = &[
    "after_image",
    "after_sort_key",
    "base",
    "brief",
    "bundle_store",
    "bundle_store_uuid",
    "bundle_uuid",
    "client_id",
    "command",
    "data-only",
    "depth",
    "dependencies",
    "detached",
    "directive",
    "dry-run",
    "error",
    "error_description",
    "error_msg",
    "filename",
    "filter[email]",
    "filter[user_name]",
    "finalize_on_failure",
    "finalize_on_success",
    "force",
    "format_errors",
    "git",
    "head",
    "header_message",
    "include",
    "include_display_metadata",
    "is_dir",
    "keywords",
    "max_line_length",
    "name",
    "need_bypass",
    "recursive",
    "redirect_uri",
    "replace",
    "shadow",
    "specs",
    "state_on_failure",
    "state_on_success",
    "store",
    "success",
    "support_redirect",
    "tail",
    "truncation_text",
    "unpack",
    "urls",
    "use_azure_blob_beta",
    "uuid",
    "uuids",
    "wait_for_upload",
    "worksheet",
];

/// Values as they stand in the request line.
const VALUES: &[(&str, &str)] = &[
    ("empty", ""),
    ("a word", "tea"),
    ("below zero", "-1"),
    ("beyond 64 bits", "18446744073709551616"),
    ("the largest integer", "9223372036854775807"),
    ("a fraction", "1.5"),
    ("not a number", "NaN"),
    ("NUL", "%00"),
    ("control characters", "a%01%1F%7F%0D%0ASet-Cookie:%20a=b"),
    ("no UTF-8", "%FF%FE%C0%AF"),
    ("half an escape", "%"),
    ("a quote for SQL", "'%20OR%20'1'='1"),
    ("a comment for SQL", "1;DROP%20TABLE%20bundle;--%20/*"),
    ("wildcards", "%25_%5C%25"),
    ("other scripts", "%F0%9F%A7%AA%E2%80%AE%CC%88"),
    ("a path", "../../../../etc/passwd"),
    ("JSON", "%7B%22a%22:%5B1%5D%7D"),
    ("a uuid of nothing", "0x00000000000000000000000000000bad"),
];

on_both! {
    async fn wrong_values_in_any_parameter(range) {
        for (route, path) in targets(range) {
            if route.path.ends_with("/checkin") {
                continue;
            }
            if range.is_spent() {
                break;
            }
            // All parameters are wrong at once, so that no route can miss it; and each value alone where few take it.
            for (name, value) in VALUES {
                let query: Vec<String> = PARAMETERS.iter().map(|parameter| format!("{parameter}={value}")).collect();
                let target = format!("{path}?{}", query.join("&"));
                let request = range.request("alice", route.method.as_str(), &target).await;
                range.fire(name, request).await;
            }
        }
    }

    async fn wrong_values_one_by_one(range) {
        let mut turn = 0;
        for path in ["/bundles", "/worksheets", "/users", "/bundles/$DATA", "/bundles/$DATA/contents/info/",
            "/bundles/$DATA/contents/blob/", "/bundles/$DATA/contents/blob/train.py", "/interpret/worksheet/$WS",
            "/bundles/locations", "/bundle_stores", "/worksheets/"] {
            if range.is_spent() {
                break;
            }
            let path = crate::pattern::fill(path, &range.scene.names);
            for parameter in PARAMETERS {
                // Over all paths and parameters each value comes up often.
                for _ in 0..3 {
                    let (name, value) = VALUES[turn % VALUES.len()];
                    turn += 1;
                    let request = range.request("alice", "GET", &format!("{path}?{parameter}={value}")).await;
                    range.fire(name, request).await;
                }
            }
        }
    }

    async fn huge_and_repeated_parameters(range) {
        let huge = "x".repeat(100_000);
        for (route, path) in targets(range) {
            if route.path.ends_with("/checkin") || !matches!(route.method.as_str(), "GET" | "DELETE") {
                continue;
            }
            let request = range.request("alice", route.method.as_str(), &format!("{path}?tea={huge}")).await;
            range.fire("100 kB of query", request).await;
        }
        for parameter in ["specs", "keywords", "uuids", "include", "bundle_uuid"] {
            let repeated = vec![format!("{parameter}=a"); 2000].join("&");
            for path in ["/bundles", "/worksheets", "/users", "/bundles/locations"] {
                let request = range.request("alice", "GET", &format!("{path}?{repeated}")).await;
                range.fire("2000 times the same", request).await;
            }
        }
        let request = range.request("alice", "GET", &format!("/bundles?specs={}", "x".repeat(1 << 20))).await;
        range.fire("1 MiB of request line", request).await;
        let request = range.request("alice", "GET", "/user").await.header("X-Huge", &"x".repeat(1 << 20));
        range.fire("1 MiB of header", request).await;
        let mut request = range.request("alice", "GET", "/user").await;
        for index in 0..5000 {
            request = request.header(&format!("X-{index}"), "x");
        }
        range.fire("5000 headers", request).await;
    }

    async fn paths_that_lead_nowhere(range) {
        let bad = ["tea", "%00", "%FF%FE", "0x", "-1", "99999999999999999999", "..", "%2e%2e", "a%2Fb", "%25_", "'", "%27%3B--",
            "0x00000000000000000000000000000bad", "0X00000000000000000000000000000BAD", "%F0%9F%A7%AA", "%0D%0Aa", "%", "%zz"];
        for (route, _) in targets(range) {
            if !route.path.contains('{') {
                continue;
            }
            if range.is_spent() {
                break;
            }
            for value in bad {
                let path: String = route.path["/rest".len()..]
                    .split('/')
                    .map(|part| if part.starts_with('{') { value } else { part })
                    .collect::<Vec<_>>()
                    .join("/");
                let request = range.request("alice", route.method.as_str(), &path).await;
                range.fire("a wrong part of a path", request).await;
            }
            let long = "x".repeat(20_000);
            let path: String = route.path["/rest".len()..]
                .split('/')
                .map(|part| if part.starts_with('{') { long.as_str() } else { part })
                .collect::<Vec<_>>()
                .join("/");
            let request = range.request("alice", route.method.as_str(), &path).await;
            range.fire("20 kB of path", request).await;
        }
    }

    async fn bytes_that_are_no_http(range) {
        let address = range.scene.server.address;
        for bytes in [
            &b"\0\0\0\0\r\n\r\n"[..],
            b"GET\r\n\r\n",
            b"GET /rest/user HTTP/9.9\r\n\r\n",
            b"GET /rest/\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            b"GET /rest/user HTTP/1.1\r\nHost: x\r\nX: \xff\0\r\nConnection: close\r\n\r\n",
            b"POST /rest/worksheets HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
            b"POST /rest/worksheets HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n",
            b"POST /rest/worksheets HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\nConnection: close\r\n\r\nzz\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ] {
            // A half-sent request may be waited for; the next one must be served all the same.
            let _ = tokio::time::timeout(std::time::Duration::from_millis(300), wire::send_bytes(address, bytes)).await;
            let request = range.request("alice", "GET", "/user").await;
            let answer = range.fire("the request after", request).await;
            if answer.is_none_or(|answer| answer.status != 200) {
                range.note(format!("after {:?} the server does not answer", String::from_utf8_lossy(bytes)));
            }
        }
    }
}
