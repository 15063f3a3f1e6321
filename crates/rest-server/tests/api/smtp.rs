//! A mail server for tests: takes mails on a loopback port and keeps them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedMail {
    /// The addresses of the envelope.
    pub from: String,
    pub to: String,
    pub headers: String,
    pub body: String,
    /// User and password, if the client logged in.
    pub login: Option<(String, String)>,
}

impl ReceivedMail {
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.headers.lines();
        lines
            .find_map(|line| line.strip_prefix(&format!("{name}: ")))
            .unwrap_or_default()
    }

    /// The path of the link in the mail, and what stands before it.
    pub fn link(&self) -> (String, String) {
        let line = self.body.lines().find(|line| line.starts_with("http")).unwrap();
        let at = line.find("/rest/").unwrap();
        (line[..at].to_owned(), line[at + "/rest".len()..].to_owned())
    }
}

/// How the server misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Mood {
    #[default]
    Good,
    /// Says "try again later" to so many mails.
    Busy(usize),
    /// Says "no such mailbox" to every mail.
    Refusing,
    /// Accepts connections and says nothing.
    Silent,
}

pub struct SmtpServer {
    pub port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    mood: Mood,
    mails: Mutex<Vec<ReceivedMail>>,
    /// Mails that were offered, taken or not.
    offers: AtomicUsize,
    news: Notify,
}

impl SmtpServer {
    pub async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner {
            mood,
            mails: Mutex::default(),
            offers: AtomicUsize::new(0),
            news: Notify::new(),
        });
        let shared = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&shared);
                tokio::spawn(async move {
                    let _ = inner.talk(stream).await;
                });
            }
        });
        Self { port, inner }
    }

    /// The oldest mail that was not taken yet; waits for one.
    pub async fn next(&self) -> ReceivedMail {
        let wait = async {
            loop {
                let news = self.inner.news.notified();
                if let Some(mail) = self.taken() {
                    return mail;
                }
                news.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .expect("no mail comes")
    }

    fn taken(&self) -> Option<ReceivedMail> {
        let mut mails = self.inner.mails.lock().unwrap();
        (!mails.is_empty()).then(|| mails.remove(0))
    }

    /// Waits until so many mails were offered, taken or not.
    pub async fn wait_for_offers(&self, count: usize) {
        let wait = async {
            loop {
                let news = self.inner.news.notified();
                if self.inner.offers.load(Ordering::SeqCst) >= count {
                    return;
                }
                news.await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .expect("nothing is offered");
    }

    /// Mails that wait to be taken.
    pub fn waiting(&self) -> usize {
        self.inner.mails.lock().unwrap().len()
    }

    pub fn offers(&self) -> usize {
        self.inner.offers.load(Ordering::SeqCst)
    }
}

impl Inner {
    async fn talk(&self, stream: TcpStream) -> std::io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        if self.mood == Mood::Silent {
            while lines.next_line().await?.is_some() {}
            return Ok(());
        }
        write.write_all(b"220 test ESMTP\r\n").await?;
        let (mut from, mut to, mut login) = (String::new(), String::new(), None);
        while let Some(line) = lines.next_line().await? {
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
            let answer = match verb.as_str() {
                "EHLO" => "250-test\r\n250 AUTH PLAIN\r\n".to_owned(),
                "AUTH" => {
                    login = plain_login(&line);
                    "235 welcome\r\n".to_owned()
                }
                "MAIL" => {
                    from = address(&line);
                    "250 ok\r\n".to_owned()
                }
                "RCPT" => {
                    to = address(&line);
                    self.receive_offer().to_owned()
                }
                "DATA" => {
                    write.write_all(b"354 go\r\n").await?;
                    let mut text = Vec::new();
                    while let Some(line) = lines.next_line().await? {
                        if line == "." {
                            break;
                        }
                        text.push(line.strip_prefix('.').map_or(line.clone(), str::to_owned));
                    }
                    let text = text.join("\n");
                    let (headers, body) = text.split_once("\n\n").unwrap_or((&text, ""));
                    self.mails.lock().unwrap().push(ReceivedMail {
                        from: from.clone(),
                        to: to.clone(),
                        headers: headers.to_owned(),
                        body: body.to_owned(),
                        login: login.clone(),
                    });
                    self.news.notify_waiters();
                    "250 taken\r\n".to_owned()
                }
                "QUIT" => {
                    write.write_all(b"221 bye\r\n").await?;
                    return Ok(());
                }
                _ => "250 ok\r\n".to_owned(),
            };
            write.write_all(answer.as_bytes()).await?;
        }
        Ok(())
    }

    fn receive_offer(&self) -> &'static str {
        let earlier = self.offers.fetch_add(1, Ordering::SeqCst);
        self.news.notify_waiters();
        match self.mood {
            Mood::Busy(count) if earlier < count => "451 later\r\n",
            Mood::Refusing => "550 no such mailbox\r\n",
            _ => "250 ok\r\n",
        }
    }
}

/// What stands between the angle brackets.
fn address(line: &str) -> String {
    let rest = line.split('<').nth(1).unwrap_or_default();
    rest.split('>').next().unwrap_or_default().to_owned()
}

fn plain_login(line: &str) -> Option<(String, String)> {
    let decoded = STANDARD.decode(line.split(' ').nth(2)?).ok()?;
    let text = String::from_utf8(decoded).ok()?;
    let mut parts = text.split('\0').skip(1);
    Some((parts.next()?.to_owned(), parts.next()?.to_owned()))
}
