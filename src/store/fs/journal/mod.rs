//! The journal: makes changes durable, many of them with one sync.
//!
//! A change touches a file, its sidecar and the directories above them. The disk syncs each of these separately. So the
//! store first appends every change to one file, the journal, and syncs that once for all changes that arrive together.
//! Only then does it put the files at their paths, which the operating system writes out later. After a crash, the
//! [recovery](super::recovery) reads the journal and applies its changes again.
//!
//! Measured with 32 connections that each upload 64 KiB, on ext4 with a journal and two cores shared with the client:
//! 0.6 of the uploads per second that are possible without any sync. An fsync of each file and directory leaves 0.3.
//! Half of the loss is the write to the journal, the other half the disk's own work.
//!
//! A change that fails after its record was written withdraws the record: it inverts one byte of it in place and syncs,
//! before the failure is reported. This needs neither disk space nor the lock of the journal.
//!
//! The journal has two [segments](segment). While one is written, a [checkpoint](checkpoint) writes out the file
//! system, which includes every change of the other segment, and frees that segment.
//!
//! The journal is a leaf: it does not know how its changes are made or applied.

mod checkpoint;
mod failure;
mod reader;
mod record;
mod segment;
mod writer;

pub(super) use self::{
    reader::read,
    record::{Change, Content, Entry, Logged},
    segment::SEGMENTS,
    writer::Journal,
};
