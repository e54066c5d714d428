// PACKET commands of an ATAPI drive on a port ([2], PACKET protocols; references in hba.ts): the HBA sends
// the packet out of the command table when the device asks for it, then data go through the table's descriptors.
import { ATA_SERIAL, STEP_DATA, STEP_END, STEP_WAIT, toHost } from '../ata/device';
import { dataReason, packetMedia, packetOf, packetPlace, packetStep, startPacket } from '../ata/packet';
import { ATA_BLOCK_MAX, ATA_PACKET_BYTES, ATA_STATUS_DRDY, ATA_STATUS_DRQ } from '../ata/regs';
import { DMA_OK } from '../bus/codes';
import { dmaFetch } from '../bus/dma';
import { Request } from '../media/media';
import { scsiDataEnd, scsiMove, scsiMoved } from '../scsi/task';
import { endRegister, runPort, stall } from './command';
import { hostError } from './errors';
import { postPacketSetup } from './fis';
import { Ahci, ataOf, Port, raise, requestTag, Slot } from './hba';
import { AHCI_HEADER_ATAPI, AHCI_IS_PSS, AHCI_TABLE_PACKET, FIS_INTERRUPT, FIS_TO_HOST } from './regs';
import { TABLE_FAULT, TABLE_OK, walkTable } from './table';

/** The device asks for the packet. A header without its A bit has none: the device waits for a reset ([1] 4.2.2, A). */
export function sendPacket(d: Ahci, p: Port, n: u32, s: Slot): void {
  const a = ataOf(p);
  assert((a.transport & ATA_SERIAL) != 0);
  if (!postPacketSetup(d, p, ATA_PACKET_BYTES, 0)) return;
  if ((s.header & AHCI_HEADER_ATAPI) == 0) {
    p.tfd = ATA_STATUS_DRDY | ATA_STATUS_DRQ;
    return;
  }
  if (dmaFetch(d, s.table + AHCI_TABLE_PACKET, packetPlace(a), ATA_PACKET_BYTES) != DMA_OK)
    return hostError(d, p);
  p.active |= 1 << n;
  continuePacket(d, p, n, s, startPacket(d, a, s, requestTag(p, n)));
}

/** Does what the packet wants, as far as it goes without the medium. */
function continuePacket(d: Ahci, p: Port, n: u32, s: Slot, step: u32): void {
  if (step == STEP_DATA) {
    if (!moveData(d, p, s)) return;
    step = packetStep(ataOf(p), s);
  }
  // There is one data phase at most.
  if (step == STEP_END) endRegister(d, p, n, s);
  else assert(step == STEP_WAIT);
}

/** Moves the data, in blocks where that is by PIO; false when that stopped the port. */
function moveData(d: Ahci, p: Port, s: Slot): bool {
  const a = ataOf(p);
  const task = packetOf(a);
  const in_ = toHost(s);
  if (task.dma == 0) {
    a.count = dataReason(a);
    // The frame of the last block is the one that stays.
    const block = min<u32>(task.limit, ATA_BLOCK_MAX);
    const flags: u32 = (in_ ? FIS_TO_HOST : 0) | FIS_INTERRUPT;
    if (!postPacketSetup(d, p, ((s.bytes - 1) % block) + 1, flags)) return false;
  }
  scsiMove(task, 0);
  const outcome = walkTable(d, p, s, s.bytes);
  if (outcome != TABLE_OK && (!in_ || outcome == TABLE_FAULT)) {
    stall(d, p, outcome);
    return false;
  }
  const good = scsiMoved(task);
  scsiDataEnd(task, s.bytes);
  if (!good) s.moved = min(s.moved, task.moved);
  if (task.dma == 0) raise(d, p, AHCI_IS_PSS);
  return true;
}

/** The medium is ready, or done. */
export function mediaOfPacket(d: Ahci, p: Port, n: u32, s: Slot, r: Request, done: bool): void {
  continuePacket(d, p, n, s, packetMedia(ataOf(p), s, r, done));
  runPort(d, p);
}
