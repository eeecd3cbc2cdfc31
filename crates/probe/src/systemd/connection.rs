//! A conversation over one of systemd's sockets, with a deadline for all of it.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, UnixAddr, connect, getsockopt, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::message::{self, Call, FIXED, Message};

/// The longest line of the greeting that is taken in.
const LONGEST_LINE: usize = 1024;

/// Why a manager could not be asked, or what it answered.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// Nobody listens there, or we may not connect.
    #[error("failed to connect to {}", socket.display())]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Somebody else listens there.
    #[error("{} is answered by uid {owner}, not by uid {wanted}", socket.display())]
    Stranger {
        /// The socket.
        socket: PathBuf,
        /// Who listens.
        owner: u32,
        /// Who should.
        wanted: u32,
    },
    /// The conversation broke off.
    #[error("failed to talk over {}", socket.display())]
    Talk {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing was heard in time.
    #[error("no answer over {} within {} s", socket.display(), time.as_secs())]
    Silence {
        /// The socket.
        socket: PathBuf,
        /// How long was waited.
        time: Duration,
    },
    /// Not the protocol.
    #[error("{} does not speak D-Bus", socket.display())]
    Nonsense {
        /// The socket.
        socket: PathBuf,
    },
    /// An error was answered.
    #[error("{method} was refused: {name}: {text}")]
    Answer {
        /// What was called.
        method: String,
        /// The error's name on the bus.
        name: String,
        /// Its text.
        text: String,
    },
}

impl BusError {
    /// Whether nobody is there: a fact about the host, unlike silence.
    pub(super) fn is_absence(&self) -> bool {
        match self {
            BusError::Connect { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::PermissionDenied
            ),
            BusError::Stranger { .. } => true,
            BusError::Talk { .. }
            | BusError::Silence { .. }
            | BusError::Nonsense { .. }
            | BusError::Answer { .. } => false,
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    socket: PathBuf,
    time: Duration,
    deadline: Instant,
    serial: u32,
    /// Signals that came while an answer was waited for.
    signals: VecDeque<Message>,
}

impl Connection {
    /// Connects and says who we are. `owner` is the uid that must have opened
    /// the socket; everything until the end of the conversation must happen
    /// within `time`.
    pub(super) fn open(path: &Path, owner: u32, time: Duration) -> Result<Connection, BusError> {
        let failed = |source: io::Error| BusError::Connect {
            socket: path.to_owned(),
            source,
        };
        let stream = connect_within(path, time).map_err(failed)?;
        let listener = getsockopt(&stream, sockopt::PeerCredentials)
            .map_err(|errno| failed(errno.into()))?
            .uid();
        if listener != owner {
            return Err(BusError::Stranger {
                socket: path.to_owned(),
                owner: listener,
                wanted: owner,
            });
        }
        let mut connection = Connection {
            stream,
            socket: path.to_owned(),
            time,
            deadline: Instant::now() + time,
            serial: 0,
            signals: VecDeque::new(),
        };
        connection.greet()?;
        Ok(connection)
    }

    /// Authentication by the kernel's word on our uid (D-Bus Specification,
    /// "Authentication Protocol": EXTERNAL, its identity in hex digits).
    ///
    /// In one piece, as systemd's own clients do it: a manager that finds the
    /// first call in the same read as `BEGIN` leaves it lying until more comes
    /// (sd-bus takes what it has read too much into its buffer, and then waits
    /// for its socket).
    fn greet(&mut self) -> Result<(), BusError> {
        let uid = nix::unistd::geteuid().to_string();
        let digits: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        self.write(format!("\0AUTH EXTERNAL {digits}\r\nBEGIN\r\n").as_bytes())?;
        if self.line()?.starts_with(b"OK ") {
            Ok(())
        } else {
            Err(self.nonsense())
        }
    }

    /// Calls a method and waits for its answer.
    pub(super) fn call(&mut self, call: &Call<'_>) -> Result<Message, BusError> {
        self.serial += 1;
        let serial = self.serial;
        self.write(&call.encode(serial))?;
        loop {
            let received = self.receive()?;
            match received.kind {
                message::SIGNAL => self.signals.push_back(received),
                message::METHOD_RETURN if received.answers == Some(serial) => return Ok(received),
                message::ERROR if received.answers == Some(serial) => {
                    return Err(refusal(call, &received));
                }
                // Nobody should call us; answers to nothing are none of ours.
                _ => {}
            }
        }
    }

    /// The next signal.
    pub(super) fn signal(&mut self) -> Result<Message, BusError> {
        loop {
            if let Some(signal) = self.signals.pop_front() {
                return Ok(signal);
            }
            let received = self.receive()?;
            if received.kind == message::SIGNAL {
                return Ok(received);
            }
        }
    }

    pub(super) fn nonsense(&self) -> BusError {
        BusError::Nonsense {
            socket: self.socket.clone(),
        }
    }

    fn receive(&mut self) -> Result<Message, BusError> {
        let mut start = [0; FIXED];
        self.read(&mut start)?;
        let length = Message::length(&start).ok_or_else(|| self.nonsense())?;
        let mut bytes = start.to_vec();
        bytes.resize(length, 0);
        self.read(&mut bytes[FIXED..])?;
        Message::decode(&bytes).ok_or_else(|| self.nonsense())
    }

    /// A line of the greeting, without its end.
    fn line(&mut self) -> Result<Vec<u8>, BusError> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            if line.len() >= LONGEST_LINE {
                return Err(self.nonsense());
            }
            let mut byte = [0];
            self.read(&mut byte)?;
            line.extend(byte);
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }

    fn read(&mut self, mut rest: &mut [u8]) -> Result<(), BusError> {
        while !rest.is_empty() {
            let left = self.time_left()?;
            let outcome = self
                .stream
                .set_read_timeout(Some(left))
                .and_then(|()| self.stream.read(rest));
            match outcome {
                Ok(0) => return Err(self.broke_off(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => rest = &mut rest[count..],
                Err(error) => self.bear(error)?,
            }
        }
        Ok(())
    }

    fn write(&mut self, mut rest: &[u8]) -> Result<(), BusError> {
        while !rest.is_empty() {
            let left = self.time_left()?;
            let outcome = self
                .stream
                .set_write_timeout(Some(left))
                .and_then(|()| self.stream.write(rest));
            match outcome {
                Ok(0) => return Err(self.broke_off(io::ErrorKind::WriteZero.into())),
                Ok(count) => rest = &rest[count..],
                Err(error) => self.bear(error)?,
            }
        }
        Ok(())
    }

    /// Errors after which the deadline is looked at again.
    fn bear(&self, error: io::Error) -> Result<(), BusError> {
        match error.kind() {
            io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Ok(())
            }
            _ => Err(self.broke_off(error)),
        }
    }

    fn broke_off(&self, source: io::Error) -> BusError {
        BusError::Talk {
            socket: self.socket.clone(),
            source,
        }
    }

    fn time_left(&self) -> Result<Duration, BusError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(BusError::Silence {
                socket: self.socket.clone(),
                time: self.time,
            });
        }
        Ok(left)
    }
}

/// A listener that accepts nobody blocks `connect` once its queue is full; the
/// send timeout ends that (unix(7)).
fn connect_within(path: &Path, time: Duration) -> io::Result<UnixStream> {
    let fd = socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::milliseconds(millis))?;
    connect(std::os::fd::AsRawFd::as_raw_fd(&fd), &UnixAddr::new(path)?)?;
    Ok(UnixStream::from(fd))
}

fn refusal(call: &Call<'_>, answer: &Message) -> BusError {
    let text = match answer.signature.starts_with('s') {
        true => answer.reader().text().unwrap_or_default(),
        false => "",
    };
    BusError::Answer {
        method: call.member.to_owned(),
        name: printable(answer.error_name.as_deref().unwrap_or("unnamed")),
        text: printable(text),
    }
}

/// What others wrote, fit for one line.
fn printable(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn own_uid() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn ping() -> Call<'static> {
        Call {
            destination: "a.b",
            path: "/a",
            interface: "a.b",
            member: "Ping",
            signature: "",
            body: &[],
        }
    }

    /// A listener that answers each connection as `answer` does.
    fn listen(
        answer: impl FnOnce(UnixStream) + Send + 'static,
    ) -> (tempfile::TempDir, PathBuf, std::thread::JoinHandle<()>) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("bus");
        let listener = UnixListener::bind(&path).expect("listens");
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().expect("a caller");
            answer(stream);
        });
        (dir, path, thread)
    }

    fn accept_greeting(stream: &mut UnixStream) {
        let mut seen = Vec::new();
        let mut byte = [0];
        while !seen.ends_with(b"\r\nBEGIN\r\n") {
            stream.read_exact(&mut byte).expect("a line");
            seen.extend(byte);
        }
        assert!(seen.starts_with(b"\0AUTH EXTERNAL "), "{seen:?}");
        stream.write_all(b"OK 0123\r\n").expect("answers");
    }

    #[test]
    fn errors_of_the_other_side_are_told_with_their_name() {
        let (_dir, path, thread) = listen(|mut stream| {
            accept_greeting(&mut stream);
            let mut call = vec![0; ping().encode(1).len()];
            stream.read_exact(&mut call).expect("a call");
            let error = b"l\x03\x00\x01\x07\x00\x00\x00\x02\x00\x00\x00\x1f\x00\x00\x00\
                \x04\x01s\x00\x03\x00\x00\x00a.b\x00\x00\x00\x00\x00\
                \x05\x01u\x00\x01\x00\x00\x00\
                \x08\x01g\x00\x01s\x00\x00\
                \x02\x00\x00\x00n\n\x00";
            let (head, tail) = error.split_at(20);
            stream.write_all(head).expect("half");
            stream.write_all(tail).expect("rest");
        });
        let mut connection = Connection::open(&path, own_uid(), PATIENCE).expect("connects");
        let error = connection.call(&ping()).expect_err("refused");
        assert_eq!(error.to_string(), "Ping was refused: a.b: n ");
        thread.join().expect("the other side is content");
    }

    #[test]
    fn silence_strangers_and_nonsense_are_told_apart() {
        let (_dir, path, thread) = listen(|mut stream| {
            // Until the other side gives up.
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let error = Connection::open(&path, own_uid(), Duration::from_millis(30));
        assert!(matches!(error, Err(BusError::Silence { .. })), "{error:?}");
        thread.join().expect("the other side is content");

        let (_dir, path, thread) = listen(drop);
        let error = Connection::open(&path, own_uid() + 1, PATIENCE);
        assert!(matches!(error, Err(BusError::Stranger { .. })), "{error:?}");
        thread.join().expect("the other side is content");

        let (_dir, path, thread) = listen(|mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400\r\n");
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let error = Connection::open(&path, own_uid(), PATIENCE);
        assert!(matches!(error, Err(BusError::Nonsense { .. })), "{error:?}");
        thread.join().expect("the other side is content");

        let error = Connection::open(Path::new("/nonexistent/bus"), 0, PATIENCE);
        assert!(error.is_err_and(|error| error.is_absence()));
    }
}
