// PACKET commands on the cable ([2] volume 2, PACKET protocols; references in channel.ts): the packet itself
// by PIO, then the data by PIO in blocks of at most the byte count limit, or by the bus master.

import { STEP_DATA, STEP_PACKET, toHost } from '../ata/device';
import { dataReason, packetOf, packetPlace, packetStep, startPacket } from '../ata/packet';
import { ATA_BLOCK_MAX, ATA_PACKET_BYTES } from '../ata/regs';
import { moveInside } from '../bus/mover';
import { scsiDataEnd, scsiMove, scsiMoved } from '../scsi/task';
import { ataOf, Channel, Drive, Piix, requestTag } from './channel';
import { advance, busy, isPio, offerBlock, openBlock, waitForMaster } from './command';

/** Does what a packet wants next; it waits for its medium by itself. */
export function continuePacket(d: Piix, c: Channel, v: Drive, step: u32): void {
  if (step == STEP_PACKET) {
    const a = ataOf(v);
    v.regCount = a.count;
    v.after = STEP_PACKET;
    // The host is not interrupted for this block ([2], IDENTIFY PACKET DEVICE, word 0).
    openBlock(v, <u32>packetPlace(a), ATA_PACKET_BYTES);
  } else if (step == STEP_DATA) {
    v.after = STEP_DATA;
    if (isPio(v)) nextBlock(d, c, v);
    else waitForMaster(d, c, v);
  }
}

/** Puts the next block up, or asks for it: each interrupts, and says how long it is. */
function nextBlock(d: Piix, c: Channel, v: Drive): void {
  const a = ataOf(v);
  const p = packetOf(a);
  const bytes = min(min<u32>(p.limit, ATA_BLOCK_MAX), v.bytes - p.position);
  v.regCount = dataReason(a);
  v.regMid = bytes & 0xff;
  v.regHigh = bytes >>> 8;
  if (toHost(v)) {
    scsiMove(p, p.position);
    moveInside(v.sectorBuffer, bytes);
    // What the medium could not read ends the data.
    if (!scsiMoved(p)) return endData(d, c, v, p.position + bytes);
  }
  offerBlock(d, c, v, v.sectorBuffer, bytes);
}

/** The host has taken or brought the whole block in hand. */
export function blockDone(d: Piix, c: Channel, v: Drive): void {
  busy(v);
  const a = ataOf(v);
  if (v.after == STEP_PACKET) return advance(d, c, v, startPacket(d, a, v, requestTag(c, v)));
  const p = packetOf(a);
  if (!toHost(v)) {
    scsiMove(p, p.position);
    moveInside(v.sectorBuffer, v.blockBytes);
    scsiMoved(p);
  }
  p.position += v.blockBytes;
  if (p.position == v.bytes) endData(d, c, v, v.bytes);
  else nextBlock(d, c, v);
}

/** The data phase is over after `moved` bytes. */
export function endData(d: Piix, c: Channel, v: Drive, moved: u32): void {
  const a = ataOf(v);
  scsiDataEnd(packetOf(a), moved);
  advance(d, c, v, packetStep(a, v));
}
