//! What a journal amounts to. Pure.

use std::path::Path;

use memcap_linux::ByteSize;

use crate::conversion::Placeholder;
use crate::conversion::attempt::{Attempt, Pending};
use crate::journal::Record;
use crate::manifest::FileRecord;
use crate::pages::PageSet;
use crate::recovery::{Action, Effort};

/// What a journal amounts to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Chunks whose results are there, by the journal.
    pub done: Vec<DoneChunk>,
    /// Attempts that ran out of memory.
    pub too_large: Vec<TooLarge>,
    /// What was to follow failures that nothing has followed yet, with the limit
    /// of those that ran out of memory.
    pending: Vec<(Pending, Option<ByteSize>)>,
    /// Pages that nothing more was to be tried for, since the last result was
    /// put in place.
    given_up: Vec<Placeholder>,
    /// The last result that was put in place, with the pages missing in it.
    pub published: Option<(Vec<FileRecord>, PageSet)>,
}

/// An attempt that ran out of memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooLarge {
    /// Its pages.
    pub pages: PageSet,
    /// What it was allowed to cost.
    pub effort: Effort,
    /// The limit that it had.
    pub limit: ByteSize,
}

/// A chunk that was converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoneChunk {
    /// Its pages.
    pub pages: PageSet,
    /// Its files, below its folder.
    pub files: Vec<FileRecord>,
    /// What it was allowed to cost.
    pub effort: Effort,
    /// Its peak, where measured.
    pub peak: Option<ByteSize>,
}

impl Progress {
    /// Replays a journal.
    pub fn of(records: &[Record]) -> Progress {
        let mut progress = Progress::default();
        let mut publishing: &[FileRecord] = &[];
        for record in records {
            match record {
                Record::Opened { .. } | Record::Started { .. } => {}
                Record::GaveUp { pages, because } => progress.give_up(pages, because),
                Record::Done {
                    pages,
                    files,
                    effort,
                    peak_bytes,
                    ..
                } => {
                    progress.forget(pages);
                    progress.done.push(DoneChunk {
                        pages: pages.clone(),
                        files: files.clone(),
                        effort: *effort,
                        peak: *peak_bytes,
                    });
                }
                Record::Failed {
                    pages,
                    memory,
                    limit_bytes,
                    effort,
                    retried,
                    then,
                    ..
                } => {
                    let attempt = Attempt {
                        pages: pages.clone(),
                        effort: *effort,
                        retried: *retried,
                    };
                    let limit = memory.then_some(*limit_bytes);
                    progress.fail(attempt, limit, then.as_ref());
                }
                Record::Discarded { pages } => progress.forget(pages),
                Record::Publishing { files, .. } => publishing = files,
                Record::Published { missing } => progress.publish(publishing, missing),
            }
        }
        progress
    }

    /// What is to follow the failures of an earlier run under this limit. A
    /// larger limit than theirs makes failures of memory void.
    pub fn pending(&self, limit: ByteSize) -> Vec<Pending> {
        let holds = |had: &Option<ByteSize>| had.is_none_or(|had| had >= limit);
        self.pending
            .iter()
            .filter(|(_, had)| holds(had))
            .map(|(pending, _)| pending.clone())
            .collect()
    }

    /// Pages that were given up by a run that did not come to its end, and that
    /// this limit does not help.
    pub fn given_up(&self, limit: ByteSize) -> Vec<Placeholder> {
        let is_beyond_help = |pages: &PageSet| {
            let of_memory = self.too_large.iter().any(|failed| failed.pages == *pages);
            !of_memory || self.is_too_large(pages, Effort::LowResolution, limit)
        };
        let given_up = self.given_up.iter();
        given_up
            .filter(|placeholder| is_beyond_help(&placeholder.pages))
            .cloned()
            .collect()
    }

    /// Page sets that no new chunk may touch: done, given up, or to be tried in
    /// a way of their own.
    pub fn settled(&self, limit: ByteSize) -> Vec<PageSet> {
        let done = self.done.iter().map(|chunk| chunk.pages.clone());
        let pending = self.pending(limit).into_iter();
        let given_up = self.given_up(limit).into_iter();
        done.chain(pending.map(|pending| pending.attempt.pages))
            .chain(given_up.map(|placeholder| placeholder.pages))
            .collect()
    }

    fn give_up(&mut self, pages: &PageSet, because: &str) {
        self.resolve(pages);
        self.given_up.push(Placeholder {
            pages: pages.clone(),
            because: because.to_owned(),
        });
    }

    fn fail(&mut self, attempt: Attempt, limit: Option<ByteSize>, then: Option<&Action>) {
        if let Some(limit) = limit {
            self.too_large.push(TooLarge {
                pages: attempt.pages.clone(),
                effort: attempt.effort,
                limit,
            });
        }
        self.resolve(&attempt.pages);
        match then {
            // Whatever it was that failed alike everywhere, the next run begins
            // without it.
            Some(Action::Abort) => self.pending.clear(),
            Some(action) => {
                let follow = attempt.followed_by(action).into_iter();
                self.pending.extend(follow.map(|pending| (pending, limit)));
            }
            None => {}
        }
    }

    fn publish(&mut self, files: &[FileRecord], missing: &PageSet) {
        self.published = Some((files.to_vec(), missing.clone()));
        self.pending.clear();
        self.given_up.clear();
    }

    /// Something was tried for these pages: what waited for them has had its
    /// turn.
    fn resolve(&mut self, pages: &PageSet) {
        for (pending, _) in &mut self.pending {
            pending.attempt.pages = pending.attempt.pages.without(pages);
        }
        self.pending
            .retain(|(pending, _)| !pending.attempt.pages.is_empty());
    }

    /// Whether a whole result is in `folder` as it was put there.
    pub fn is_published(&self, folder: &Path) -> bool {
        self.published.as_ref().is_some_and(|(files, missing)| {
            missing.is_empty() && files.iter().all(|file| file.matches(folder))
        })
    }

    /// Whether these pages, in one run of this effort under `limit`, are known
    /// to be too many.
    pub fn is_too_large(&self, pages: &PageSet, effort: Effort, limit: ByteSize) -> bool {
        self.too_large.iter().any(|failed| {
            failed.limit >= limit && effort <= failed.effort && pages.contains_all(&failed.pages)
        })
    }

    fn forget(&mut self, pages: &PageSet) {
        self.resolve(pages);
        self.done.retain(|chunk| chunk.pages != *pages);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::records::done;

    #[test]
    fn replaying_keeps_what_still_counts() {
        let failed = |pages, memory, mib| Record::Failed {
            pages: PageSet::all(pages),
            ending: "memory-limit".into(),
            memory,
            limit_bytes: ByteSize::from_mib(mib),
            effort: Effort::SmallBatches,
            retried: false,
            then: None,
        };
        let discarded = Record::Discarded {
            pages: PageSet::all(1),
        };
        let records = [
            done(1),
            done(2),
            failed(5, true, 2000),
            failed(7, false, 2000),
            discarded,
        ];
        let progress = Progress::of(&records);
        assert_eq!(progress.done.len(), 1);
        let at = |effort, pages, mib| {
            progress.is_too_large(&PageSet::all(pages), effort, ByteSize::from_mib(mib))
        };
        let too_large = |pages, mib| at(Effort::SmallBatches, pages, mib);
        assert!(too_large(5, 2000) && too_large(9, 1000));
        assert!(!too_large(4, 2000) && !too_large(5, 2001));
        // What costs more fails too; what costs less may not.
        assert!(at(Effort::Usual, 5, 2000) && !at(Effort::LowResolution, 5, 2000));
        assert_eq!(progress.published, None);
    }

    #[test]
    fn a_result_counts_as_published_when_it_is_in_place() {
        let folder = || "book".to_owned();
        let publishing = Record::Publishing {
            folder: folder(),
            files: Vec::new(),
        };
        assert_eq!(
            Progress::of(std::slice::from_ref(&publishing)).published,
            None
        );
        let published = Record::Published {
            missing: PageSet::default(),
        };
        let progress = Progress::of(&[publishing, published]);
        assert_eq!(progress.published, Some((Vec::new(), PageSet::default())));
    }
}
