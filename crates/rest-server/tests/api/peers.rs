//! Several servers on one database.

use reqwest::Method;
use serde_json::json;

use crate::support::TestServer;
use crate::workers::{check_in, check_in_body, report, running};

/// The reader asks one server, the worker talks to the other.
#[tokio::test]
async fn an_answer_finds_the_server_that_waits_for_it() {
    let first = TestServer::start().await;
    let second = first.peer().await;
    for server in [&first, &second] {
        let address = format!("http://{}", server.address);
        server.state.join_peers(&address).await.unwrap();
    }
    let worker = second.login_as("codalab", "codalab_worker_client").await;
    let alice = first.login("alice").await;
    let run = running(&second, &worker, &alice, json!([])).await;
    let ask = |what: &'static str| {
        let (alice, run) = (alice.clone(), run.clone());
        tokio::spawn(async move {
            let path = format!("/bundles/{run}/contents/info/{what}");
            let cat = format!("/bundles/{run}/netcat/5005/");
            let request = match what {
                "netcat" => alice.put(&cat).json(&json!({"message": "x"})),
                _ => alice.get(&path),
            };
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        })
    };
    for what in ["stdout", "netcat"] {
        let asked = ask(what);
        let message = loop {
            let messages = check_in(&worker, check_in_body(json!([report(&run, "running")]))).await;
            if !messages[0].is_null() {
                break messages[0].clone();
            }
        };
        let socket = &message["socket_id"];
        if what == "netcat" {
            let path = format!("/workers/node7%2812%29/reply_data/{socket}?header_message=%7B%7D");
            // Nobody else may answer, whichever server is asked.
            let bob = second.login_as("bob", "codalab_worker_client").await;
            assert_eq!(bob.post(&path).body("forged").send().await.unwrap().status(), 403);
            let large = vec![b'x'; 3 << 20];
            assert_eq!(worker.post(&path).body(large).send().await.unwrap().status(), 200);
            let (status, text) = asked.await.unwrap();
            assert_eq!((status, text.len()), (200, 3 << 20));
        } else {
            let info = json!({"target_info": {"name": "stdout", "type": "file", "size": 6, "perm": 420}});
            let path = format!("/workers/node7%2812%29/reply/{socket}");
            worker.change(Method::POST, &path, info).await;
            let (status, text) = asked.await.unwrap();
            assert_eq!(status, 200);
            assert!(text.contains("\"size\":6"), "{text}");
        }
    }
}
