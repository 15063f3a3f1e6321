//! The protocol as workers, upstream servers and other services see it, over real sockets.
#![allow(clippy::unwrap_used)] // the helpers belong to the tests

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use hub::{Event, Hub, LocalHub, RemoteHub, RemoteHubConfig, next_event};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Server {
    address: SocketAddr,
    hub: Arc<LocalHub>,
    shutdown: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    fn start_on(listener: TcpListener) -> Self {
        let address = listener.local_addr().unwrap();
        let hub = Arc::new(LocalHub::new());
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(ws_server::serve_on(
            listener,
            Some("key".into()),
            hub.clone(),
            shutdown.clone(),
        ));
        Self {
            address,
            hub,
            shutdown,
            task,
        }
    }

    async fn open(&self, target: &str) -> Socket {
        tokio_tungstenite::connect_async(format!("ws://{}{target}", self.address))
            .await
            .unwrap()
            .0
    }

    /// Connects a worker and waits until the server knows it.
    async fn worker(&self, target: &str) -> Socket {
        let mut socket = self.open(target).await;
        socket.send(Message::text("a")).await.unwrap();
        // The pong comes from the task that has registered the worker.
        socket.send(Message::Ping(b"1234".to_vec().into())).await.unwrap();
        assert_eq!(frame(&mut socket).await, Message::Pong(b"1234".to_vec().into()));
        socket
    }

    fn remote_hub(&self, key: &str) -> RemoteHub {
        RemoteHub::connect(RemoteHubConfig {
            url: format!("ws://{}", self.address),
            key: key.into(),
        })
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), what)
        .await
        .expect("within the deadline")
}

async fn frame(socket: &mut Socket) -> Message {
    soon(socket.next()).await.unwrap().unwrap()
}

async fn close_code(socket: &mut Socket) -> u16 {
    match frame(socket).await {
        Message::Close(Some(close)) => close.code.into(),
        other => panic!("expected a close frame, got {other:?}"),
    }
}

/// Reads until `wanted` comes by.
async fn hear(events: &mut tokio::sync::broadcast::Receiver<Event>, wanted: &Event) {
    soon(async { while next_event(events).await.as_ref() != Some(wanted) {} }).await;
}

#[tokio::test]
async fn a_worker_is_pinged_with_its_id_through_main_and_through_the_hub_and_never_answered() {
    let server = Server::start().await;
    let mut worker = server.worker("/ws/worker/lab-42(7)").await;
    let mut main = server.open("/main").await;
    main.send(Message::text("lab-42(7)")).await.unwrap();
    assert_eq!(close_code(&mut main).await, 1000);
    assert_eq!(frame(&mut worker).await, Message::text("lab-42(7)"));
    worker.send(Message::text("a")).await.unwrap();
    server.hub.publish(Event::message_queued("0", "other"));
    server.hub.publish(Event::message_queued("0", "lab-42(7)"));
    assert_eq!(frame(&mut worker).await, Message::text("lab-42(7)"));
    worker.send(Message::Ping(b"x".to_vec().into())).await.unwrap();
    assert_eq!(
        frame(&mut worker).await,
        Message::Pong(b"x".to_vec().into()),
        "no frame but the pong"
    );
}

#[tokio::test]
async fn an_unknown_worker_is_no_error_and_other_routes_are_closed_with_1011() {
    let server = Server::start().await;
    let mut main = server.open("/ws/main").await;
    main.send(Message::text("nobody")).await.unwrap();
    assert_eq!(close_code(&mut main).await, 1000);
    for target in ["/", "/ws/", "/worker/", "/ws/other"] {
        assert_eq!(close_code(&mut server.open(target).await).await, 1011, "{target}");
    }
}

#[tokio::test]
async fn a_new_connection_replaces_the_older_one() {
    let server = Server::start().await;
    let mut old = server.worker("/worker/w").await;
    let mut new = server.worker("//ws/worker/w").await;
    server.hub.publish(Event::message_queued("0", "w"));
    assert_eq!(frame(&mut new).await, Message::text("w"));
    old.send(Message::Ping(b"x".to_vec().into())).await.unwrap();
    assert_eq!(
        frame(&mut old).await,
        Message::Pong(b"x".to_vec().into()),
        "no ping, but still open"
    );
    drop(new);
}

#[tokio::test]
async fn the_routes_can_be_merged_into_another_listener() {
    let hub = Arc::new(LocalHub::new());
    let app = axum::Router::new()
        .route("/rest/x", axum::routing::get(|| async { "rest" }))
        .fallback(|| async { "elsewhere" })
        .merge(ws_server::router(hub.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    for target in ["/ws/worker/lab-42(7)", "//ws/worker/lab-42(7)"] {
        let (mut socket, _) = tokio_tungstenite::connect_async(format!("ws://{address}{target}"))
            .await
            .unwrap();
        socket.send(Message::Ping(b"x".to_vec().into())).await.unwrap();
        assert_eq!(frame(&mut socket).await, Message::Pong(b"x".to_vec().into()));
        hub.publish(Event::message_queued("0", "lab-42(7)"));
        assert_eq!(frame(&mut socket).await, Message::text("lab-42(7)"), "{target}");
    }
}

#[tokio::test]
async fn shutdown_closes_workers_with_1001_and_ends() {
    let server = Server::start().await;
    let mut worker = server.worker("/worker/w").await;
    server.shutdown.cancel();
    assert_eq!(close_code(&mut worker).await, 1001);
    soon(server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn services_hear_each_other_through_the_relay_once() {
    let server = Server::start().await;
    let (a, b) = (server.remote_hub("key"), server.remote_hub("key"));
    let (mut at_a, mut at_b, mut at_server) = (a.subscribe(), b.subscribe(), server.hub.subscribe());
    hear(&mut at_a, &Event::Resync).await;
    hear(&mut at_b, &Event::Resync).await;
    let (first, second) = (Event::bundle_created("0x1"), Event::bundle_changed("0x1", "ready"));
    a.publish(first.clone());
    hear(&mut at_b, &first).await;
    hear(&mut at_server, &first).await;
    b.publish(second.clone());
    hear(&mut at_server, &second).await;
    // `a` hears its own event locally, then the other's: no echo in between (resyncs of the connects may be).
    let mut heard = Vec::new();
    while heard.last() != Some(&second) {
        heard.extend(
            soon(next_event(&mut at_a))
                .await
                .filter(|event| *event != Event::Resync),
        );
    }
    assert_eq!(heard, [first, second]);
}

#[tokio::test]
async fn a_remote_hub_reconnects_and_asks_for_a_resync() {
    let server = Server::start().await;
    let address = server.address;
    let hub = server.remote_hub("key");
    let mut events = hub.subscribe();
    hear(&mut events, &Event::Resync).await;
    server.shutdown.cancel();
    soon(server.task).await.unwrap().unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).unwrap();
    let again = Server::start_on(socket.listen(16).unwrap());
    hear(&mut events, &Event::Resync).await;
    let event = Event::bundle_created("0x2");
    again.hub.publish(event.clone());
    hear(&mut events, &event).await;
}

#[tokio::test]
async fn the_relay_refuses_a_wrong_key() {
    let server = Server::start().await;
    for target in ["/events", "/ws/events"] {
        let refused = tokio_tungstenite::connect_async(format!("ws://{}{target}", server.address)).await;
        match refused {
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => assert_eq!(response.status(), 403),
            other => panic!("{target}: {other:?}"),
        }
    }
}
