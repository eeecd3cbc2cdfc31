//! Messages of the D-Bus wire format (D-Bus Specification 0.43, "Message
//! Protocol"), as far as a conversation with systemd needs them. Opens nothing.

/// Kinds of messages.
pub(super) const METHOD_CALL: u8 = 1;
pub(super) const METHOD_RETURN: u8 = 2;
pub(super) const ERROR: u8 = 3;
pub(super) const SIGNAL: u8 = 4;

/// Codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Length of the part before the header fields.
pub(super) const FIXED: usize = 16;
/// The longest message that is taken in: ours are a few hundred bytes, and a
/// bus allows 128 MiB.
const LONGEST: usize = 1 << 20;

/// A method to be called.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    /// Types of what is in the body.
    pub(super) signature: &'a str,
    pub(super) body: &'a [u8],
}

impl Call<'_> {
    /// The whole message.
    pub(super) fn encode(&self, serial: u32) -> Vec<u8> {
        let mut out = Writer::default();
        out.bytes.extend([b'l', METHOD_CALL, 0, 1]);
        out.number(length(self.body.len()));
        out.number(serial);
        out.array(8, |fields| {
            let texts = [
                (PATH, "o", self.path),
                (INTERFACE, "s", self.interface),
                (MEMBER, "s", self.member),
                (DESTINATION, "s", self.destination),
            ];
            for (code, kind, text) in texts {
                fields.pad(8);
                fields.bytes.push(code);
                fields.signature(kind);
                fields.text(text);
            }
            if !self.signature.is_empty() {
                fields.pad(8);
                fields.bytes.push(SIGNATURE);
                fields.signature("g");
                fields.signature(self.signature);
            }
        });
        out.pad(8);
        out.bytes.extend_from_slice(self.body);
        out.bytes
    }
}

/// Puts values one after the other, aligned as their types ask for.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn pad(&mut self, to: usize) {
        self.bytes.resize(self.bytes.len().next_multiple_of(to), 0);
    }

    /// `u`; also `b`, as 0 or 1.
    pub(super) fn number(&mut self, number: u32) {
        self.pad(4);
        self.bytes.extend(number.to_le_bytes());
    }

    /// `s` and `o`.
    pub(super) fn text(&mut self, text: &str) {
        self.number(length(text.len()));
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
    }

    /// `g`; every one of ours is shorter than 256 bytes.
    pub(super) fn signature(&mut self, signature: &str) {
        self.bytes
            .push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.bytes.extend_from_slice(signature.as_bytes());
        self.bytes.push(0);
    }

    /// `a…`, of elements with this alignment. Its length does not count the
    /// padding before the first element.
    pub(super) fn array(&mut self, alignment: usize, fill: impl FnOnce(&mut Writer)) {
        self.number(0);
        let length_at = self.bytes.len() - 4;
        self.pad(alignment);
        let start = self.bytes.len();
        fill(self);
        let filled = length(self.bytes.len() - start);
        self.bytes[length_at..length_at + 4].copy_from_slice(&filled.to_le_bytes());
    }

    /// One element of `a(sv)`.
    pub(super) fn property(
        &mut self,
        name: &str,
        signature: &str,
        value: impl FnOnce(&mut Writer),
    ) {
        self.pad(8);
        self.text(name);
        self.signature(signature);
        value(self);
    }
}

/// Messages of ours are far below 4 GiB.
fn length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// A message that was received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: u8,
    /// The serial of the call that this answers.
    pub(super) answers: Option<u32>,
    pub(super) member: Option<String>,
    pub(super) error_name: Option<String>,
    pub(super) signature: String,
    pub(super) body: Vec<u8>,
    pub(super) big_endian: bool,
}

impl Message {
    /// How long the message is that begins so; `None` for what is no message,
    /// or one longer than any we expect.
    pub(super) fn length(start: &[u8; FIXED]) -> Option<usize> {
        let mut reader = Reader::new(start, big_endian(start[0])?);
        reader.position = 4;
        let body = usize::try_from(reader.number()?).ok()?;
        reader.position = 12;
        let fields = usize::try_from(reader.number()?).ok()?;
        let header = FIXED.checked_add(fields)?.checked_next_multiple_of(8)?;
        header.checked_add(body).filter(|length| *length <= LONGEST)
    }

    /// Understands a whole message; `None` for anything malformed.
    pub(super) fn decode(bytes: &[u8]) -> Option<Message> {
        let start: &[u8; FIXED] = bytes.first_chunk()?;
        if Message::length(start)? != bytes.len() {
            return None;
        }
        let mut reader = Reader::new(bytes, big_endian(start[0])?);
        let mut message = Message {
            kind: start[1],
            big_endian: reader.big_endian,
            ..Message::default()
        };
        reader.position = 12;
        let end = FIXED + usize::try_from(reader.number()?).ok()?;
        while reader.position < end {
            reader.pad(8);
            let code = reader.byte()?;
            match (code, reader.signature()?) {
                (MEMBER, "s") => message.member = Some(reader.text()?.to_owned()),
                (ERROR_NAME, "s") => message.error_name = Some(reader.text()?.to_owned()),
                (REPLY_SERIAL, "u") => message.answers = Some(reader.number()?),
                (SIGNATURE, "g") => reader.signature()?.clone_into(&mut message.signature),
                (_, "s" | "o") => drop(reader.text()?),
                (_, "u") => drop(reader.number()?),
                (_, "g") => drop(reader.signature()?),
                // No other types are in headers.
                _ => return None,
            }
        }
        reader.pad(8);
        message.body = bytes.get(reader.position..)?.to_vec();
        Some(message)
    }

    /// Its values, to be taken one after the other.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader::new(&self.body, self.big_endian)
    }
}

fn big_endian(mark: u8) -> Option<bool> {
    match mark {
        b'l' => Some(false),
        b'B' => Some(true),
        _ => None,
    }
}

/// Takes values off a body. `None` at the first that is not there.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    big_endian: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8], big_endian: bool) -> Reader<'a> {
        Reader {
            bytes,
            position: 0,
            big_endian,
        }
    }

    fn pad(&mut self, to: usize) {
        self.position = self.position.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.position.checked_add(count)?;
        let taken = self.bytes.get(self.position..end)?;
        self.position = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// `u`.
    pub(super) fn number(&mut self) -> Option<u32> {
        self.pad(4);
        let bytes = *self.take(4)?.first_chunk()?;
        Some(if self.big_endian {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    }

    /// `s` and `o`.
    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.number()?).ok()?;
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }

    /// `g`.
    pub(super) fn signature(&mut self) -> Option<&'a str> {
        let length = usize::from(self.byte()?);
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A call, byte for byte as the specification has it.
    const HELLO: &[u8] = b"l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x6d\x00\x00\x00\
        \x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00\
        \x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00\
        \x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00\
        \x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00";

    fn hello() -> Call<'static> {
        Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Hello",
            signature: "",
            body: &[],
        }
    }

    #[test]
    fn a_call_is_written_as_specified() {
        assert_eq!(hello().encode(1), HELLO);
    }

    #[test]
    fn what_was_written_is_read_back() {
        let mut body = Writer::default();
        body.text("memcap.scope");
        body.array(8, |properties| {
            properties.property("Delegate", "b", |value| value.number(1));
            properties.property("PIDs", "au", |value| value.array(4, |pids| pids.number(7)));
        });
        let call = Call {
            signature: "sa(sv)",
            body: &body.bytes,
            ..hello()
        };
        let bytes = call.encode(3);
        let message = Message::decode(&bytes).expect("a message");
        assert_eq!(message.kind, METHOD_CALL);
        assert_eq!(message.member.as_deref(), Some("Hello"));
        assert_eq!(message.signature, "sa(sv)");
        let mut values = message.reader();
        assert_eq!(values.text(), Some("memcap.scope"));
        // Up to the end: 8 + "Delegate" … 7, in bytes.
        assert_eq!(values.number(), Some(48));
        values.pad(8);
        assert_eq!(values.text(), Some("Delegate"));
        assert_eq!(values.signature(), Some("b"));
        assert_eq!(values.number(), Some(1));
        values.pad(8);
        assert_eq!(values.text(), Some("PIDs"));
        assert_eq!(values.signature(), Some("au"));
        assert_eq!((values.number(), values.number()), (Some(4), Some(7)));
        assert_eq!(values.number(), None);
    }

    #[test]
    fn messages_of_the_other_byte_order_are_read() {
        let error = b"B\x03\x00\x01\x00\x00\x00\x07\x00\x00\x00\x02\x00\x00\x00\x0f\
            \x05\x01u\x00\x00\x00\x00\x09\
            \x08\x01g\x00\x01s\x00\x00\
            \x00\x00\x00\x02no\x00";
        let message = Message::decode(error).expect("a message");
        assert_eq!((message.kind, message.answers), (ERROR, Some(9)));
        assert_eq!(message.reader().text(), Some("no"));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        // Every prefix, and every byte replaced by extremes.
        for end in 0..HELLO.len() {
            assert_eq!(Message::decode(&HELLO[..end]), None, "{end}");
        }
        for at in 0..HELLO.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = HELLO.to_vec();
                bytes[at] = value;
                // Understood or not, it must return.
                let _ = Message::decode(&bytes).map(|message| message.reader().text().is_some());
            }
        }
        let endless = *b"l\x02\x00\x01\xff\xff\xff\xff\x00\x00\x00\x00\xff\xff\xff\xff";
        assert_eq!(Message::length(&endless), None);
    }
}
