// Mailboxes: the host leaves CCBs in the out mailboxes, the board reports their ends in the in mailboxes,
// each array in a round ([1] 2.1). The board keeps SLOTS commands; more wait in their mailboxes.
//
// [1] AHA-1540B/1542B Technical Reference Manual
import { cancel, schedule } from '../bus/clock';
import { dmaFetch, dmaStore } from '../bus/dma';
import { AT_SCRATCH } from '../bus/layout';
import { trace } from '../bus/trace';
import { TRACE_COMPLETE } from '../bus/trace-codes';
import { get24, put24 } from '../scsi/bytes';
import {
  Aha1542,
  EVENT_MAIL,
  earliest,
  interrupt,
  isReady,
  SLOT_DONE,
  SLOT_FREE,
  Slot,
  slotAt,
  slotBit,
} from './board';
import { abortCcb, acceptCcb, refuseAction } from './ccb';
import {
  INTERRUPT_MBIF,
  INTERRUPT_MBOE,
  MAILBOX_BYTES,
  MBI_FREE,
  MBO_ABORT,
  MBO_FREE,
  MBO_START,
} from './regs';

/** Looks at a full in mailbox again after this many ns, twice as long each time, and so often. */
const MAIL_RETRY_NS: u64 = 10_000;
const MAIL_RETRIES: u32 = 24;

/** START SCSI: takes what is in the out mailboxes, from the one after the last taken on, one round. */
export function scanOut(d: Aha1542): void {
  if (!isReady(d)) return;
  d.rescan = 0;
  const count = d.mailboxes;
  const first = d.nextOut;
  fetchOut(d, first, count - first, 0);
  fetchOut(d, 0, first, count - first);
  for (let i: u32 = 0; i < count; i++) {
    const at: usize = AT_SCRATCH + i * MAILBOX_BYTES;
    const action = load<u8>(at);
    if (action == MBO_FREE) continue;
    if (d.freeSlots == 0) {
      d.rescan = 1;
      break;
    }
    take(d, first + i < count ? first + i : first + i - count, action, get24(at + 1));
  }
}

/** Fetches `count` out mailboxes from number `first` on into the scratch area, there from number `to` on. */
function fetchOut(d: Aha1542, first: u32, count: u32, to: u32): void {
  if (count == 0) return;
  dmaFetch(d, outMailbox(d, first), AT_SCRATCH + to * MAILBOX_BYTES, count * MAILBOX_BYTES);
}

/** One out mailbox: it is free again as soon as the board has what it says. */
function take(d: Aha1542, number: u32, action: u32, ccb: u32): void {
  const i = <u32>ctz(d.freeSlots);
  d.freeSlots &= d.freeSlots - 1;
  const s = slotAt(d, i);
  d.nextOut = number + 1 < d.mailboxes ? number + 1 : 0;
  d.sequence++;
  d.commands++;
  s.order = d.sequence;
  s.number = d.commands;
  s.ccb = ccb;
  d.command = d.commands;
  store<u8>(markPlace(), MBO_FREE);
  dmaStore(d, outMailbox(d, number), markPlace(), 1);
  if (action == MBO_START) acceptCcb(d, s);
  else if (action == MBO_ABORT) abortCcb(d, s);
  else refuseAction(d, s);
  if (d.reportsEmpty != 0) interrupt(d, INTERRUPT_MBOE);
}

/** A command is over: its in mailbox is filled, now or when the host has emptied it. */
export function report(d: Aha1542, s: Slot, mail: u32): void {
  s.mail = mail;
  trace(TRACE_COMPLETE, d.id, s.number, mail, 0, 0);
  if (d.doneSlots == 0 && fillIn(d, s)) return;
  s.slotState = SLOT_DONE;
  d.sequence++;
  s.order = d.sequence;
  d.doneSlots |= slotBit(d, s);
}

/** Fills in mailboxes for the commands that wait for them, in the order in which they ended. */
export function deliver(d: Aha1542): void {
  // Each round takes a slot out of the set.
  while (d.doneSlots != 0) {
    const s = earliest(d, d.doneSlots);
    if (!fillIn(d, s)) return;
    d.doneSlots &= ~slotBit(d, s);
  }
}

/** Fills the next in mailbox and frees the slot; false if the host has not emptied the mailbox yet. */
function fillIn(d: Aha1542, s: Slot): bool {
  const at = inMailbox(d, d.nextIn);
  d.command = s.number;
  dmaFetch(d, at, markPlace(), 1);
  if (load<u8>(markPlace()) != MBI_FREE) {
    retryLater(d);
    return false;
  }
  store<u8>(markPlace(), <u8>s.mail);
  put24(markPlace() + 1, s.ccb);
  dmaStore(d, at, markPlace(), MAILBOX_BYTES);
  d.nextIn = d.nextIn + 1 < d.mailboxes ? d.nextIn + 1 : 0;
  d.completions++;
  d.mailRetries = 0;
  freeSlot(d, s);
  interrupt(d, INTERRUPT_MBIF);
  return true;
}

/** The host touched a register: it may have emptied an in mailbox. */
export function pokeMail(d: Aha1542): void {
  if (d.doneSlots == 0) return;
  d.mailRetries = 0;
  deliver(d);
}

/** Gives a slot back. */
export function freeSlot(d: Aha1542, s: Slot): void {
  s.slotState = SLOT_FREE;
  d.freeSlots |= slotBit(d, s);
}

/** A host that polls memory gives no sign when a mailbox becomes free. */
function retryLater(d: Aha1542): void {
  if (d.mailRetries == MAIL_RETRIES) return;
  cancel(d, EVENT_MAIL, 0);
  schedule(d, EVENT_MAIL, 0, MAIL_RETRY_NS << (<u64>d.mailRetries));
  d.mailRetries++;
}

function outMailbox(d: Aha1542, number: u32): u64 {
  return <u64>d.mailboxAddress + number * MAILBOX_BYTES;
}

function inMailbox(d: Aha1542, number: u32): u64 {
  return <u64>d.mailboxAddress + (d.mailboxes + number) * MAILBOX_BYTES;
}

/** Scratch bytes behind the largest array of mailboxes and what a CCB needs. */
function markPlace(): usize {
  return AT_SCRATCH + 0x600;
}
