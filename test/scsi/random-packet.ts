// Packets that may make sense, and what else may happen to a drive meanwhile.

import * as mmc from '../../assembly/scsi/mmc-regs.ts';
import * as scsi from '../../assembly/scsi/regs.ts';
import type { Random } from '../../src/kernel/random.ts';
import type { Drive, Machine } from '../../src/machine/index.ts';
import { ramMedium } from '../../src/media/index.ts';

const OPS = [
  scsi.OP_TEST_UNIT_READY,
  scsi.OP_REQUEST_SENSE,
  scsi.OP_INQUIRY,
  scsi.OP_MODE_SENSE_6,
  scsi.OP_MODE_SENSE_10,
  scsi.OP_MODE_SELECT_6,
  scsi.OP_MODE_SELECT_10,
  scsi.OP_START_STOP_UNIT,
  scsi.OP_PREVENT_ALLOW,
  scsi.OP_READ_CAPACITY_10,
  scsi.OP_READ_10,
  scsi.OP_READ_10,
  scsi.OP_READ_12,
  scsi.OP_SEEK_10,
  scsi.OP_VERIFY_10,
  mmc.OP_READ_TOC,
  mmc.OP_GET_CONFIGURATION,
  mmc.OP_GET_EVENT_STATUS,
  mmc.OP_READ_DISC_INFORMATION,
  mmc.OP_READ_TRACK_INFORMATION,
  mmc.OP_READ_DVD_STRUCTURE,
  mmc.OP_READ_CD,
  mmc.OP_READ_CD,
  mmc.OP_READ_CD_MSF,
  mmc.OP_SET_CD_SPEED,
  mmc.OP_MECHANISM_STATUS,
];
const FIELDS = [0x10, 0xf8, 0x18, 0xb8, 0x30, 0x20];
const BLOCK = mmc.CD_DATA_BYTES;

/** Twelve bytes: a known command most of the time, with small numbers in it, and some noise. */
export function randomPacket(random: Random): number[] {
  const bytes = Array.from({ length: 12 }, () => (random.below(3) === 0 ? random.below(20) : 0));
  const op = OPS[random.below(OPS.length)] as number;
  bytes[0] = op;
  if (op === mmc.OP_READ_CD || op === mmc.OP_READ_CD_MSF) {
    for (const i of [1, 2, 3, 4, 6, 7, 10]) bytes[i] = random.below(20) === 0 ? random.below(4) : 0;
    bytes[9] = FIELDS[random.below(FIELDS.length)] as number;
  }
  if (op === scsi.OP_READ_10 || op === scsi.OP_READ_12) bytes.fill(0, 1, 5);
  // The control byte refuses some of its bits.
  if (random.below(4) > 0) bytes[op >>> 5 === 0 ? 5 : op >>> 5 === 5 ? 11 : 9] = 0;
  if (op === mmc.OP_READ_CD && random.below(4) > 0) bytes[9] = FIELDS[random.below(FIELDS.length)] as number;
  if (random.below(6) === 0) bytes[random.below(12)] = random.below(256);
  return bytes;
}

/** The host moves trays, changes media, mends what failed. A medium in RAM takes memory for good: there are few. */
export function mishap(random: Random, machine: Machine, drive: Drive): void {
  switch (random.below(9)) {
    case 0:
      drive.eject(random.below(2) === 0);
      break;
    case 1:
      drive.openTray(random.below(2) === 0);
      break;
    case 2:
      drive.closeTray();
      break;
    case 3:
      drive.insert({ bytes: (1 + random.below(32)) * BLOCK });
      break;
    case 4:
      drive.insert({ medium: ramMedium((1 + random.below(64)) * BLOCK) });
      break;
    case 5:
      drive.load({ medium: ramMedium((mmc.CD_BLOCKS + random.below(2)) * BLOCK) });
      break;
    case 6:
      drive.remove();
      break;
    default:
      machine.release(drive);
      machine.retry();
  }
  machine.takeNotices();
}

/** Fills the fault plan for the drive: errors, delays, held requests. */
export function plan(machine: Machine, drive: Drive): void {
  for (let i = 0; i < 60; i++) {
    const kind = (['error', 'delay', 'hold'] as const)[i % 3] as 'error' | 'delay' | 'hold';
    const argument = kind === 'delay' ? 20_000 : 0;
    machine.addFault({ disk: drive, kind, operations: ['read', 'verify'], skip: i * 15, times: 2, argument });
  }
}
