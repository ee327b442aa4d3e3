//! A web server and a mail server that speak their protocols as far as a message needs them, and remember what they heard.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What a server does with the next message; when nothing is left to say, it takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mood {
    /// Takes it and says so.
    Take,
    /// Takes it and goes away without a word.
    TakeAndVanish,
    /// Cannot take it now.
    Busy,
    /// Will never take it.
    Refuse,
}

/// What was heard, in order.
pub struct Double<T> {
    pub port: u16,
    heard: Arc<Mutex<Vec<T>>>,
    moods: Arc<Mutex<Vec<Mood>>>,
    task: tokio::task::JoinHandle<()>,
}

impl<T> Drop for Double<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<T: Clone + Send + 'static> Double<T> {
    pub fn heard(&self) -> Vec<T> {
        self.heard.lock().expect("unbroken").clone()
    }

    async fn start<F>(moods: &[Mood], serve: fn(TcpStream, Mood) -> F) -> Double<T>
    where
        F: Future<Output = Option<T>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (heard, moods) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(moods.to_vec())));
        let (record, left) = (heard.clone(), moods.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mood = {
                    let mut left = left.lock().expect("unbroken");
                    if left.is_empty() { Mood::Take } else { left.remove(0) }
                };
                if let Some(message) = serve(stream, mood).await {
                    record.lock().expect("unbroken").push(message);
                }
            }
        });
        Double { port, heard, moods, task }
    }

    /// Moods that were not used.
    pub fn moods_left(&self) -> usize {
        self.moods.lock().expect("unbroken").len()
    }
}

/// A POST that was heard to its end.
#[derive(Clone, Debug)]
pub struct Post {
    pub key: String,
    pub body: serde_json::Value,
}

/// A web server.
pub async fn web(moods: &[Mood]) -> Double<Post> {
    Double::start(moods, |stream, mood| async move { post(stream, mood).await.ok() }).await
}

async fn post(stream: TcpStream, mood: Mood) -> std::io::Result<Post> {
    let mut stream = BufReader::new(stream);
    let (mut key, mut length) = (String::new(), 0);
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    assert!(first.starts_with("POST /hook HTTP/1.1"), "{first}");
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "idempotency-key" => key = value.to_string(),
            "content-length" => length = value.parse().expect("a number"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let status = match mood {
        Mood::Take => "200 OK",
        Mood::Busy => "503 Service Unavailable",
        Mood::Refuse => "422 Unprocessable Content",
        Mood::TakeAndVanish => "",
    };
    if !status.is_empty() {
        stream
            .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes())
            .await?;
        stream.shutdown().await?;
    }
    let heard = Post { key, body: serde_json::from_slice(&body).expect("JSON") };
    if matches!(mood, Mood::Take | Mood::TakeAndVanish) { Ok(heard) } else { Err(std::io::ErrorKind::Other.into()) }
}

/// A mail that was heard to its end.
#[derive(Clone, Debug)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub text: String,
}

impl Mail {
    /// The value of a header, its folds undone.
    pub fn header(&self, name: &str) -> String {
        let start = format!("{name}: ");
        self.text
            .replace("\r\n ", " ")
            .lines()
            .find_map(|line| line.strip_prefix(&start))
            .unwrap_or_default()
            .trim()
            .to_string()
    }
}

/// A mail server.
pub async fn post_office(moods: &[Mood]) -> Double<Mail> {
    Double::start(moods, |stream, mood| async move { receive(stream, mood).await.ok() }).await
}

async fn receive(stream: TcpStream, mood: Mood) -> std::io::Result<Mail> {
    let mut stream = BufReader::new(stream);
    let mut mail = Mail { from: String::new(), to: Vec::new(), text: String::new() };
    stream.write_all(b"220 double ESMTP\r\n").await?;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            break;
        }
        let (line, upper) = (line.trim_end().to_string(), line.to_ascii_uppercase());
        let answer = if upper.starts_with("EHLO") {
            "250-double\r\n250 8BITMIME"
        } else if upper.starts_with("MAIL FROM:") {
            mail.from = address(&line);
            "250 ok"
        } else if upper.starts_with("RCPT TO:") {
            match mood {
                Mood::Busy => "451 greylisted, come back",
                Mood::Refuse => "554 no such thing here",
                _ => {
                    mail.to.push(address(&line));
                    "250 ok"
                }
            }
        } else if upper.starts_with("DATA") {
            stream.write_all(b"354 go on\r\n").await?;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await?;
                if line == ".\r\n" {
                    break;
                }
                mail.text.push_str(&line);
            }
            if mood == Mood::TakeAndVanish {
                return Ok(mail);
            }
            "250 taken"
        } else if upper.starts_with("QUIT") {
            stream.write_all(b"221 bye\r\n").await?;
            break;
        } else {
            "250 ok"
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    if mail.text.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(mail) }
}

fn address(line: &str) -> String {
    line.split(['<', '>']).nth(1).unwrap_or_default().to_string()
}
