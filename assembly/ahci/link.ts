// The link of a port: COMRESET, speed, signature, plugging ([1] 10.4, 3.3.10, 3.3.11; references in hba.ts).
import {
  ATA_QUEUES,
  ATA_SERIAL,
  ATA_VIRTUAL,
  ATA_WIDE_COUNTS,
  AtaDevice,
  ataPowerOn,
  attachAta,
} from '../ata/device';
import { ATA_STATUS_BSY } from '../ata/regs';
import { cancel, schedule } from '../bus/clock';
import { giveUp } from './errors';
import { postRegister } from './fis';
import { Ahci, ataOf, EVENT_LINK, EVENT_SIGNATURE, NO_SLOT, Port, raiseError } from './hba';
import {
  AHCI_CAP_ISS_SHIFT,
  AHCI_CAP_SNCQ,
  AHCI_CMD_FRE,
  AHCI_CMD_SUD,
  AHCI_DET_MASK,
  AHCI_DET_OFFLINE,
  AHCI_DET_PRESENT,
  AHCI_DET_RESET,
  AHCI_GHC_IE,
  AHCI_IPM_ACTIVE,
  AHCI_SERR_N,
  AHCI_SERR_X,
  AHCI_SIG_NONE,
  AHCI_SPD_SHIFT,
  AHCI_TFD_ERROR_SHIFT,
  AHCI_TFD_RESET,
} from './regs';

/** From the end of COMRESET to PhyRdy, and from there to the signature. */
const LINK_NS: u64 = 100_000;
const SIGNATURE_NS: u64 = 100_000;

/** Held signatures: see Port.held. */
const HELD_FIS: u32 = 1;
const HELD_ALL: u32 = 2;

/** Whether frames can be exchanged. */
export function isUp(p: Port): bool {
  return (p.ssts & AHCI_DET_MASK) == AHCI_DET_PRESENT;
}

/** Communication is lost: commands are given up, PxTFD and PxSIG are as after a reset ([1] 10.4.2). */
export function linkDown(d: Ahci, p: Port, detection: u32): void {
  cancel(d, EVENT_LINK, p.number);
  cancel(d, EVENT_SIGNATURE, p.number);
  // What was issued is lost: the list waits for software to clear ST.
  if ((p.ci | p.sact) != 0) p.stopped = 1;
  giveUp(p);
  p.ssts = detection;
  p.tfd = AHCI_TFD_RESET;
  p.sig = AHCI_SIG_NONE;
  p.held = 0;
  ataPowerOn(ataOf(p));
}

/** The device may answer again: it will if it is there, spun up and not held in reset or off line. */
export function linkStart(d: Ahci, p: Port): void {
  if (ataOf(p).disk == 0 || (p.cmd & AHCI_CMD_SUD) == 0) return;
  if ((p.sctl & AHCI_DET_MASK) != 0) return;
  schedule(d, EVENT_LINK, p.number, LINK_NS);
}

/** The link after a reset of the HBA. Silicon that does not report it has the link up at once. */
export function linkAfterReset(d: Ahci, p: Port): void {
  linkDown(d, p, 0);
  if (d.linkEvents != 0) linkStart(d, p);
  else if (ataOf(p).disk != 0 && (p.cmd & AHCI_CMD_SUD) != 0) {
    establish(d, p);
    p.held = HELD_ALL;
  }
}

/** EVENT_LINK: the device sent COMINIT, speed is negotiated. */
export function linkUp(d: Ahci, p: Port): void {
  establish(d, p);
  p.tfd = ATA_STATUS_BSY;
  schedule(d, EVENT_SIGNATURE, p.number, SIGNATURE_NS);
  raiseError(d, p, AHCI_SERR_X | AHCI_SERR_N);
}

function establish(d: Ahci, p: Port): void {
  const fastest = (d.cap >>> AHCI_CAP_ISS_SHIFT) & 0xf;
  const limit = (p.sctl >>> AHCI_SPD_SHIFT) & 0xf;
  const speed = limit != 0 && limit < fastest ? limit : fastest;
  p.ssts = AHCI_DET_PRESENT | (speed << AHCI_SPD_SHIFT) | AHCI_IPM_ACTIVE;
  const a = ataOf(p);
  a.generation = speed;
  a.transport = (a.transport & ATA_VIRTUAL) | ATA_SERIAL | ((d.cap & AHCI_CAP_SNCQ) != 0 ? ATA_QUEUES : 0);
  if (d.wideCounts != 0) a.transport |= ATA_WIDE_COUNTS;
}

/** EVENT_SIGNATURE. */
export function signatureDue(d: Ahci, p: Port): void {
  if (isIdle(p)) signature(d, p);
}

/** A device that was given a command before its signature came, through PxCMD.CLO, answers that instead. */
function isIdle(p: Port): bool {
  return p.busy == NO_SLOT && p.active == 0;
}

/**
 * The device's first Register FIS. It reaches PxTFD and PxSIG whether or not frames are
 * received; the area in memory when they are ([1] 3.3.7, FRE).
 */
export function signature(d: Ahci, p: Port): void {
  showSignature(p);
  if ((p.cmd & AHCI_CMD_FRE) != 0) postRegister(d, p, false);
  else p.held = HELD_FIS;
}

/** FRE was set: a frame that waited for it is posted. */
export function postHeld(d: Ahci, p: Port): void {
  const held = p.held;
  p.held = 0;
  if (held == 0 || !isIdle(p)) return;
  if (held == HELD_ALL) showSignature(p);
  postRegister(d, p, false);
}

function showSignature(p: Port): void {
  const a: AtaDevice = ataOf(p);
  p.tfd = a.status | (a.error << AHCI_TFD_ERROR_SHIFT);
  p.sig = (a.count & 0xff) | ((<u32>a.lba & 0xffffff) << 8);
}

/** PxSCTL.DET: 1 holds the device in reset, 4 takes the Phy off line, back to 0 starts the link. */
export function writeControl(d: Ahci, p: Port, value: u32): void {
  const before = p.sctl & AHCI_DET_MASK;
  const after = value & AHCI_DET_MASK;
  p.sctl = value;
  if (after == AHCI_DET_RESET) linkDown(d, p, 0);
  else if (after == AHCI_DET_OFFLINE) linkDown(d, p, AHCI_DET_OFFLINE);
  else if (after == 0 && before != 0) {
    linkDown(d, p, 0);
    linkStart(d, p);
  }
}

/** PxCMD.SUD of an HBA with staggered spin-up ([1] 10.1.1). */
export function spinUp(d: Ahci, p: Port, on: bool): void {
  linkDown(d, p, 0);
  if (on) linkStart(d, p);
}

/**
 * A disk or drive comes or goes; false when there is no memory. Before software has touched the HBA it simply was
 * there.
 */
export function plug(d: Ahci, p: Port, disk: u32): bool {
  const was = ataOf(p).disk;
  const linked = isUp(p);
  linkDown(d, p, p.ssts & AHCI_DET_MASK & AHCI_DET_OFFLINE);
  if (!attachAta(ataOf(p), disk)) return false;
  const untouched = (d.ghc & AHCI_GHC_IE) == 0 && (p.cmd & AHCI_CMD_FRE) == 0;
  if (disk == 0) {
    if (was != 0 && linked) raiseError(d, p, AHCI_SERR_N);
  } else {
    ataPowerOn(ataOf(p));
    if (untouched && d.linkEvents == 0) linkAfterReset(d, p);
    else linkStart(d, p);
  }
  return true;
}
