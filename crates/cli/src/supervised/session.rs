//! A step that goes on and is talked to: a supervised job whose standard input
//! and output are the channel.
//!
//! ```text
//!   the job's lines ---- a thread ---.
//!                                     >--- one channel ---> hear()
//!   the keeper's events - a thread ---'
//! ```

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use memcap_linux::ByteSize;
use memcap_marker::runner::{Accounting, Ending, Heard, RunnerError, Session, Usage, Watch};
use memcap_supervisor::{Event, Events, Handle, Sample, SupervisorError, VerdictKind};

use super::accounting;
use super::ending::ending;
use super::interruption::{Concern, Interruption};
use super::turns::Member;

/// How long lines are waited for once the tree is gone. They are in the pipe
/// by then; only a process outside the tree could hold it open.
const LAST_LINES: Duration = Duration::from_secs(2);

/// What the threads tell.
enum Note {
    Line(Vec<u8>),
    Sample(Sample),
    Ended,
}

/// A supervised step that is talked to.
pub(super) struct SupervisedSession {
    label: String,
    handle: Handle,
    questions: Option<ChildStdin>,
    notes: Receiver<Note>,
    /// Until when lines may still come; set when the tree is gone.
    closing: Option<Instant>,
    interruption: Arc<Interruption>,
    _concern: Concern,
    member: Option<Member>,
}

impl SupervisedSession {
    /// Over a job whose standard input and output are pipes.
    pub(super) fn over(
        label: &str,
        mut handle: Handle,
        interruption: &Arc<Interruption>,
        member: Option<Member>,
    ) -> SupervisedSession {
        let (told, notes) = channel();
        let questions = handle.stdin();
        if let Some(answers) = handle.stdout() {
            let told = told.clone();
            std::thread::spawn(move || tell_lines(answers, &told));
        }
        let events = handle.events();
        std::thread::spawn(move || tell_events(events, &told));
        SupervisedSession {
            label: label.to_owned(),
            _concern: interruption.concerns(handle.control()),
            handle,
            questions,
            notes,
            closing: None,
            interruption: Arc::clone(interruption),
            member,
        }
    }

    fn failed(&self, error: SupervisorError) -> RunnerError {
        RunnerError {
            label: self.label.clone(),
            source: Box::new(error),
        }
    }

    /// The next note; `None` when the deadline has come, or none will.
    fn note(&self, deadline: Option<Instant>) -> Option<Note> {
        let until = match (deadline, self.closing) {
            (Some(deadline), Some(closing)) => Some(deadline.min(closing)),
            (deadline, closing) => deadline.or(closing),
        };
        match until {
            Some(at) => self
                .notes
                .recv_timeout(at.saturating_duration_since(Instant::now())),
            None => self.notes.recv().map_err(RecvTimeoutError::from),
        }
        .ok()
    }
}

/// Hands on whole lines; an unfinished last one means nothing.
fn tell_lines(answers: ChildStdout, told: &Sender<Note>) {
    let mut answers = BufReader::new(answers);
    let mut line = Vec::new();
    while answers.read_until(b'\n', &mut line).is_ok() && line.pop() == Some(b'\n') {
        if told.send(Note::Line(std::mem::take(&mut line))).is_err() {
            return;
        }
    }
}

fn tell_events(events: Events, told: &Sender<Note>) {
    for event in events {
        let note = match event {
            Event::Sample(sample) => Note::Sample(sample),
            Event::Ended => Note::Ended,
        };
        if told.send(note).is_err() {
            return;
        }
    }
}

fn usage(Sample { current, peak }: Sample) -> Usage {
    Usage { current, peak }
}

impl Session for SupervisedSession {
    fn send(&mut self, line: &str) {
        if let Some(questions) = &mut self.questions {
            // Whoever is gone hears nothing; `hear` tells of the end.
            let _ = questions.write_all(format!("{line}\n").as_bytes());
        }
    }

    fn expect(&mut self, estimate: ByteSize) {
        self.handle.expect_peak(estimate);
    }

    fn hear(
        &mut self,
        deadline: Option<Instant>,
        watch: &mut Watch<'_>,
    ) -> Result<Heard, RunnerError> {
        loop {
            match self.note(deadline) {
                Some(Note::Sample(sample)) if watch(usage(sample)).is_break() => {
                    return Ok(Heard::Nothing);
                }
                Some(Note::Sample(_)) => {}
                Some(Note::Ended) => self.closing = Some(Instant::now() + LAST_LINES),
                Some(Note::Line(line)) => {
                    let sample = self.handle.sample().map_err(|error| self.failed(error))?;
                    if let Some(sample) = sample {
                        // What it has said is heard all the same.
                        let _ = watch(usage(sample));
                    }
                    return Ok(Heard::Line(line));
                }
                None if self.closing.is_some() => return Ok(Heard::Ended),
                None => return Ok(Heard::Nothing),
            }
        }
    }

    fn accounting(&self) -> Option<Accounting> {
        Some(accounting(self.handle.plan().mechanism))
    }

    fn end(self: Box<Self>) -> Result<Option<Ending>, RunnerError> {
        self.handle.kill();
        let label = self.label;
        let outcome = self.handle.wait().map_err(|error| RunnerError {
            label,
            source: Box::new(error),
        })?;
        let ending = ending(&outcome);
        if let Some(member) = self.member {
            member.ended(&ending);
        }
        if self.interruption.is_wanted() {
            return Ok(Some(Ending::Interrupted));
        }
        // Nobody but we can have asked.
        let by_us = outcome.verdict.kind == VerdictKind::Interrupted;
        Ok((!by_us).then_some(ending))
    }
}
