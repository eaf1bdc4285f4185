//! What a row's bytes are. Numbers are LEB128 varints; those that can be negative are zigzagged first.
//!
//! | row | bytes |
//! |---|---|
//! | tail | 0, or 1 where there are sealed chunks, then: the instant from which the tail has everything, the summary of all chunks; entries |
//! | directory | for each chunk: its key less that of the one before (the first whole), its summary |
//! | chunk | entries |
//!
//! | entry | when | |
//! |---|---|---|
//! | head (1) | | bit 0 opens; bits 1–2 pairing; bit 3 count follows; bits 4–5 how the arrivals are written |
//! | time | | less that of the entry before; the first whole |
//! | arrival | | less that of the entry before |
//! | count | bit 3 | edges that are one entry; 1 where it is not written |
//! | distance, arrival | pairing 1 | to the partner's time, less its own arrival: the partner is in another row |
//! | back | pairing 3 | how many entries before this one its partner is: the later half of a session within the row |
//!
//! Pairing 0 has no partner; pairing 2 is the earlier half of a session within the row, and the later half completes it.
//! An arrival that moves as the time does is written as the difference to that move (bit 4, the partner's bit 5):
//! a live event takes a byte or two there, and in an import, where arrivals stand still, the plain difference does.
//!
//! | summary | when | |
//! |---|---|---|
//! | head (1) | | bit 0 a spare close; bit 1 an open still open; bit 2 reaches back; bit 3 reaches on |
//! | back | bit 2 | the key less the earliest open that was taken from within |
//! | on | bit 3 | the latest close that took from within, less the key |
//! | touched | | less that of the summary before |

use super::chunk::{Chunk, Entry, Partner, Summary};
use super::directory::{Directory, Slot};
use super::timeline::Sealed;
use super::{Damaged, Edge, Role};
use prost::encoding::{decode_varint, encode_varint};
use smallvec::SmallVec;

const OPENS: u8 = 1;
const PAIRING_SHIFT: u8 = 1;
const COUNTED: u8 = 1 << 3;
const ARRIVAL_MOVES: u8 = 1 << 4;
const PARTNER_ARRIVAL_MOVES: u8 = 1 << 5;

const LOOSE: u8 = 0;
const ELSEWHERE: u8 = 1;
const EARLIER_HALF: u8 = 2;
const LATER_HALF: u8 = 3;

const SPARE_CLOSE: u8 = 1;
const STILL_OPEN: u8 = 1 << 1;
const REACHES_BACK: u8 = 1 << 2;
const REACHES_ON: u8 = 1 << 3;

pub(super) fn encode_tail(tail: &Chunk, sealed: Option<&Sealed>) -> Vec<u8> {
    let mut row = Vec::with_capacity(32 + 12 * tail.entries().len());
    match sealed {
        None => row.push(0),
        Some(sealed) => {
            row.push(1);
            put_signed(sealed.from_ms, &mut row);
            encode_summary(&sealed.summary, sealed.from_ms, sealed.from_ms, &mut row);
        }
    }
    encode_entries(tail.entries(), &mut row);
    row
}

pub(super) fn decode_tail(mut row: &[u8]) -> Result<(Chunk, Option<Sealed>), Damaged> {
    let row = &mut row;
    let sealed = match take_byte(row)? {
        0 => None,
        1 => {
            let from_ms = take_signed(row)?;
            Some(Sealed { from_ms, summary: decode_summary(from_ms, from_ms, row)?, directory: None })
        }
        _ => return Err(Damaged("unknown kind of tail")),
    };
    Ok((Chunk::new(decode_entries(row)?), sealed))
}

pub(super) fn encode_chunk(chunk: &Chunk) -> Vec<u8> {
    let mut row = Vec::with_capacity(12 * chunk.entries().len());
    encode_entries(chunk.entries(), &mut row);
    row
}

pub(super) fn decode_chunk(mut row: &[u8]) -> Result<Chunk, Damaged> {
    decode_entries(&mut row).map(Chunk::new)
}

pub(super) fn encode_directory(directory: &Directory) -> Vec<u8> {
    let mut row = Vec::with_capacity(12 * directory.slots.len());
    let (mut key_ms, mut touched_ms) = (0_i64, 0);
    for slot in &directory.slots {
        put_signed(slot.key_ms.wrapping_sub(key_ms), &mut row);
        encode_summary(&slot.summary, slot.key_ms, touched_ms, &mut row);
        (key_ms, touched_ms) = (slot.key_ms, slot.summary.touched_ms);
    }
    row
}

pub(super) fn decode_directory(mut row: &[u8]) -> Result<Directory, Damaged> {
    let row = &mut row;
    let mut slots = Vec::with_capacity(row.len() / 8);
    let (mut key_ms, mut touched_ms) = (0_i64, 0);
    while !row.is_empty() {
        key_ms = key_ms.wrapping_add(take_signed(row)?);
        let summary = decode_summary(key_ms, touched_ms, row)?;
        touched_ms = summary.touched_ms;
        slots.push(Slot::unread(key_ms, summary));
    }
    if !slots.is_sorted_by(|a, b| a.key_ms < b.key_ms) {
        return Err(Damaged("the chunks of the directory are out of order"));
    }
    Ok(Directory::new(slots))
}

fn encode_summary(summary: &Summary, key_ms: i64, touched_before_ms: i64, row: &mut Vec<u8>) {
    let bit = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
    row.push(
        bit(summary.has_spare_close, SPARE_CLOSE)
            | bit(summary.has_open, STILL_OPEN)
            | bit(summary.reaches_back_ms.is_some(), REACHES_BACK)
            | bit(summary.reaches_on_ms.is_some(), REACHES_ON),
    );
    if let Some(back_ms) = summary.reaches_back_ms {
        put_signed(key_ms.wrapping_sub(back_ms), row);
    }
    if let Some(on_ms) = summary.reaches_on_ms {
        put_signed(on_ms.wrapping_sub(key_ms), row);
    }
    put_signed(summary.touched_ms.wrapping_sub(touched_before_ms), row);
}

fn decode_summary(key_ms: i64, touched_before_ms: i64, row: &mut &[u8]) -> Result<Summary, Damaged> {
    let head = take_byte(row)?;
    if head >= REACHES_ON << 1 {
        return Err(Damaged("unknown kind of summary"));
    }
    let back = (head & REACHES_BACK != 0).then(|| take_signed(row)).transpose()?;
    let on = (head & REACHES_ON != 0).then(|| take_signed(row)).transpose()?;
    Ok(Summary {
        has_spare_close: head & SPARE_CLOSE != 0,
        reaches_back_ms: back.map(|back| key_ms.wrapping_sub(back)),
        has_open: head & STILL_OPEN != 0,
        reaches_on_ms: on.map(|on| key_ms.wrapping_add(on)),
        touched_ms: touched_before_ms.wrapping_add(take_signed(row)?),
    })
}

fn encode_entries(entries: &[Entry], row: &mut Vec<u8>) {
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
    let within = first.edge.time_ms..=last.edge.time_ms;
    let (mut time_ms, mut arrival_ms) = (0_i64, 0_i64);
    for (index, entry) in entries.iter().enumerate() {
        let Entry { edge, partner, count } = entry;
        // All edges of an instant are in one row: a partner in the row's range is in the row.
        let mirror = entry.mirror().filter(|mirror| within.contains(&mirror.edge.time_ms));
        let mirror = mirror.and_then(|mirror| find_near(entries, index, &mirror));
        let pairing = match mirror {
            Some(at) if at > index => EARLIER_HALF,
            Some(_) => LATER_HALF,
            None if partner.is_some() => ELSEWHERE,
            None => LOOSE,
        };
        let time = edge.time_ms.wrapping_sub(time_ms);
        let (arrival, arrival_moves) = shorter(edge.arrival_ms.wrapping_sub(arrival_ms), time);
        let elsewhere = partner.filter(|_| pairing == ELSEWHERE).map(|partner| {
            let distance = partner.time_ms.wrapping_sub(edge.time_ms);
            let (arrival, moves) = shorter(partner.arrival_ms.wrapping_sub(edge.arrival_ms), distance);
            (partner.time_ms.abs_diff(edge.time_ms), arrival, moves)
        });
        let is_counted = *count != 1 && pairing != LATER_HALF;

        let mut head = pairing << PAIRING_SHIFT;
        if edge.role == Role::Open {
            head |= OPENS;
        }
        if is_counted {
            head |= COUNTED;
        }
        if arrival_moves {
            head |= ARRIVAL_MOVES;
        }
        if elsewhere.is_some_and(|(.., moves)| moves) {
            head |= PARTNER_ARRIVAL_MOVES;
        }
        row.push(head);
        match index {
            0 => put_signed(time, row),
            _ => encode_varint(time.cast_unsigned(), row),
        }
        put_signed(arrival, row);
        if is_counted {
            encode_varint(*count, row);
        }
        if let Some((distance, arrival, _)) = elsewhere {
            encode_varint(distance, row);
            put_signed(arrival, row);
        }
        if let (LATER_HALF, Some(at)) = (pairing, mirror) {
            encode_varint((index - at) as u64, row);
        }
        (time_ms, arrival_ms) = (edge.time_ms, edge.arrival_ms);
    }
}

/// Where `wanted` is among `entries`, if it is. Most partners are side by side, `from` being the place of one of them.
fn find_near(entries: &[Entry], from: usize, wanted: &Entry) -> Option<usize> {
    let is_at = |at: &usize| entries.get(*at).is_some_and(|entry| entry.order(wanted).is_eq());
    let beside = [from + 1, from.wrapping_sub(1)].into_iter().find(is_at);
    beside.or_else(|| entries.binary_search_by(|entry| entry.order(wanted)).ok())
}

fn decode_entries(row: &mut &[u8]) -> Result<Vec<Entry>, Damaged> {
    let mut entries: Vec<Entry> = Vec::with_capacity(row.len() / 6);
    let mut is_half = SmallVec::<[bool; 128]>::new();
    let mut halves = 0_usize;
    let (mut time_ms, mut arrival_ms) = (0_i64, 0_i64);
    while !row.is_empty() {
        let head = take_byte(row)?;
        if head >= PARTNER_ARRIVAL_MOVES << 1 {
            return Err(Damaged("unknown kind of entry"));
        }
        let role = if head & OPENS != 0 { Role::Open } else { Role::Close };
        let time = if entries.is_empty() { take_signed(row)? } else { take_unsigned(row)?.cast_signed() };
        time_ms = match entries.last() {
            None => time,
            Some(_) => {
                time_ms.checked_add_unsigned(time.cast_unsigned()).ok_or(Damaged("an entry is past the end of time"))?
            }
        };
        let arrival = take_signed(row)?;
        arrival_ms = arrival_ms.wrapping_add(arrival).wrapping_add(if head & ARRIVAL_MOVES != 0 { time } else { 0 });
        let edge = Edge { time_ms, role, arrival_ms };
        let mut entry = Entry::loose(edge);
        if head & COUNTED != 0 {
            entry.count = take_unsigned(row)?;
        }
        let pairing = (head >> PAIRING_SHIFT) & 3;
        match pairing {
            ELSEWHERE => {
                let distance = take_unsigned(row)?;
                let partner_ms = match role {
                    Role::Open => time_ms.checked_add_unsigned(distance),
                    Role::Close => time_ms.checked_sub_unsigned(distance),
                };
                let partner_ms = partner_ms.ok_or(Damaged("a partner is past the end of time"))?;
                let moved = if head & PARTNER_ARRIVAL_MOVES != 0 { partner_ms.wrapping_sub(time_ms) } else { 0 };
                let partner_arrival_ms = arrival_ms.wrapping_add(take_signed(row)?).wrapping_add(moved);
                entry.partner = Some(Partner { time_ms: partner_ms, arrival_ms: partner_arrival_ms });
            }
            EARLIER_HALF => halves += 1,
            LATER_HALF => {
                let back = usize::try_from(take_unsigned(row)?).ok().and_then(|back| entries.len().checked_sub(back));
                let at = back
                    .filter(|at| is_half.get(*at) == Some(&true))
                    .filter(|at| entries[*at].edge.role != role)
                    .ok_or(Damaged("an entry's earlier half is missing"))?;
                let earlier = &mut entries[at];
                *earlier = Entry::paired(earlier.edge, edge, earlier.count);
                entry = Entry::paired(edge, earlier.edge, earlier.count);
                is_half[at] = false;
                halves -= 1;
            }
            _ => {}
        }
        entries.push(entry);
        is_half.push(pairing == EARLIER_HALF);
    }
    if halves > 0 {
        return Err(Damaged("an entry's later half is missing"));
    }
    Ok(entries)
}

/// The shorter to write: `difference`, or how far it is from `move_by`; and whether it is the latter.
fn shorter(difference: i64, move_by: i64) -> (i64, bool) {
    let apart = difference.wrapping_sub(move_by);
    if zigzag(apart) < zigzag(difference) { (apart, true) } else { (difference, false) }
}

fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

fn put_signed(value: i64, row: &mut Vec<u8>) {
    encode_varint(zigzag(value), row);
}

fn take_byte(row: &mut &[u8]) -> Result<u8, Damaged> {
    let (first, rest) = row.split_first().ok_or(Damaged("a row ends early"))?;
    *row = rest;
    Ok(*first)
}

fn take_unsigned(row: &mut &[u8]) -> Result<u64, Damaged> {
    decode_varint(row).map_err(|_| Damaged("a number in a row is cut short"))
}

fn take_signed(row: &mut &[u8]) -> Result<i64, Damaged> {
    let value = take_unsigned(row)?;
    Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}
