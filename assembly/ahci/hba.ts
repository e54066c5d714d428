// The state of an AHCI controller: the HBA, its ports, their command slots. Ports lie behind each other, slots
// behind their port; everything is offsets, so that a snapshot is a copy.
//
// [1] Serial ATA Advanced Host Controller Interface (AHCI) 1.3.1
// [2] Serial ATA revision 2.6
// [3] ATA8-ACS, T13/1699-D (assembly/ata/)
// [4] Intel I/O Controller Hub 9 datasheet, 14: configuration space
import { AtaDevice, AtaTask } from '../ata/device';
import { Device, functionOf } from '../bus/device';
import { setLine } from '../bus/irq';
import { msiEnabled, sendMsi } from '../bus/pci';
import { Request } from '../media/media';
import {
  AHCI_CAP_S64A,
  AHCI_GHC_IE,
  AHCI_IS_PCS,
  AHCI_IS_PRCS,
  AHCI_IS_UFS,
  AHCI_SERR_F,
  AHCI_SERR_N,
  AHCI_SERR_X,
} from './regs';

/** The controller's own events. */
export const EVENT_LINK: u32 = 1;
export const EVENT_SIGNATURE: u32 = 2;
export const EVENT_COALESCE: u32 = 3;
export const EVENT_RETRY: u32 = 4;

export const PORT_STRIDE: u32 = 4352;
const SLOTS_AT: u32 = 256;
const SLOT_STRIDE: u32 = 128;
/** No slot: the port has no command in the device. */
export const NO_SLOT: u32 = 32;

/** Descriptors that are fetched at once. */
export const PRD_CHUNK: u32 = 32;
// Scratch memory behind the HBA's fields: a received or sent FIS, a command header, descriptors.
const FIS_AT: u32 = 0;
const HEADER_AT: u32 = 64;
const PRDS_AT: u32 = 96;
export const HBA_SCRATCH: u32 = PRDS_AT + PRD_CHUNK * 16;

@unmanaged
export class Ahci extends Device {
  cap: u32;
  cap2: u32;
  ghc: u32;
  is: u32;
  pi: u32;
  vs: u32;
  cccControl: u32;
  cccPorts: u32;
  /** Completions since the last interrupt; non-zero while the timer runs. */
  cccDone: u32;
  cccTimer: u32;
  bohc: u32;
  /** Index register of the index/data pair. */
  index: u32;
  /** Offset of port 0. */
  ports: u32;
  portCount: u32;
  /** Slots that exist, one bit each. */
  slots: u32;
  /** Non-zero while EVENT_RETRY is in the queue. */
  retrying: u32;

  // What the silicon does (profile).
  linkEvents: u32;
  descriptorInterrupts: u32;
  pioRegisterFis: u32;
  wideCounts: u32;
}

@unmanaged
export class Port {
  number: u32;
  /** Offset of the ATA device; it is there even while no disk is. */
  ata: u32;
  clb: u64;
  fb: u64;
  is: u32;
  ie: u32;
  cmd: u32;
  tfd: u32;
  sig: u32;
  ssts: u32;
  sctl: u32;
  serr: u32;
  sact: u32;
  ci: u32;
  /** Slot that was fetched last: PxCMD.CCS. */
  current: u32;
  /** Slot from which on the next one is looked for, 0 to 32. */
  next: u32;
  /** Slot of the command that keeps the device busy, NO_SLOT: none. */
  busy: u32;
  /** Non-zero after a fatal error: nothing is fetched until ST was cleared ([1] 6.2.2). */
  stopped: u32;
  /** Slots whose command the device has, and those of them that wait for a free media request. */
  active: u32;
  waiting: u32;
  /** A signature that came while FRE was clear: 1 its FIS is not posted, 2 nor is it in PxTFD and PxSIG. */
  held: u32;
}

/** A command slot: the command in the device, and where its data goes. */
@unmanaged
export class Slot extends AtaTask {
  /** First dword of the command header. */
  header: u32;
  prdtl: u32;
  table: u64;
  /** Bytes moved: PRDBC. */
  moved: u32;
}

export function portAt(d: Ahci, number: u32): Port {
  return changetype<Port>(<usize>d.ports + number * PORT_STRIDE);
}

export function slotAt(p: Port, slot: u32): Slot {
  return changetype<Slot>(changetype<usize>(p) + SLOTS_AT + slot * SLOT_STRIDE);
}

export function ataOf(p: Port): AtaDevice {
  return changetype<AtaDevice>(<usize>p.ata);
}

export function isImplemented(d: Ahci, number: u32): bool {
  return number < 32 && ((d.pi >>> number) & 1) != 0;
}

export function checkLayout(): void {
  assert(offsetof<Port>() <= SLOTS_AT && offsetof<Slot>() <= SLOT_STRIDE);
}

export function fisScratch(d: Ahci): usize {
  return changetype<usize>(d) + offsetof<Ahci>() + FIS_AT;
}
export function headerScratch(d: Ahci): usize {
  return changetype<usize>(d) + offsetof<Ahci>() + HEADER_AT;
}
export function prdScratch(d: Ahci): usize {
  return changetype<usize>(d) + offsetof<Ahci>() + PRDS_AT;
}

/** An address as the HBA has it: without S64A the upper halves of descriptors do not exist ([1] 3.1.1). */
export function reach(d: Ahci, address: u64): u64 {
  return (d.cap & AHCI_CAP_S64A) != 0 ? address : address & 0xffffffff;
}

/** What a media request carries to find its command again. */
export function requestTag(p: Port, slot: u32): u32 {
  return (p.number << 5) | slot;
}
export function portOf(d: Ahci, r: Request): Port {
  return portAt(d, r.tag >>> 5);
}

/** Remembers what DMA is done for. */
export function nameCommand(d: Ahci, p: Port, slot: u32): void {
  d.command = (p.number << 5) | slot;
}

/** PxIS: three of its bits only mirror PxSERR ([1] 3.3.5). */
export function portStatus(p: Port): u32 {
  let status = p.is;
  if ((p.serr & AHCI_SERR_X) != 0) status |= AHCI_IS_PCS;
  if ((p.serr & AHCI_SERR_N) != 0) status |= AHCI_IS_PRCS;
  if ((p.serr & AHCI_SERR_F) != 0) status |= AHCI_IS_UFS;
  return status;
}

/** Sets bits of PxIS and draws the consequences. */
export function raise(d: Ahci, p: Port, bits: u32): void {
  p.is |= bits;
  updatePort(d, p);
}

/** Sets bits of PxSERR and draws the consequences. */
export function raiseError(d: Ahci, p: Port, bits: u32): void {
  p.serr |= bits;
  updatePort(d, p);
}

/** IS.IPS follows PxIS and PxIE when they rise, and is cleared by software alone ([1] 10.7.2). */
export function updatePort(d: Ahci, p: Port): void {
  if ((portStatus(p) & p.ie) != 0) raiseGlobal(d, 1 << p.number);
}

/** Sets bits of IS. Every bit that is new sends a message where MSI is on. */
export function raiseGlobal(d: Ahci, bits: u32): void {
  if ((bits & ~d.is) == 0) return;
  d.is |= bits;
  if ((d.ghc & AHCI_GHC_IE) == 0) return;
  setLine(d, true);
  if (msiEnabled(functionOf(d))) sendMsi(d);
}

/** Software cleared bits of IS, or changed GHC.IE: what is still pending interrupts again ([1] 10.7.2.3). */
export function updateGlobal(d: Ahci): void {
  const wanted = d.is != 0 && (d.ghc & AHCI_GHC_IE) != 0;
  setLine(d, wanted);
  if (wanted && msiEnabled(functionOf(d))) sendMsi(d);
}

/** Software writes ones to IS; ports that still have something pending raise their bit again. */
export function clearGlobal(d: Ahci, bits: u32): void {
  if ((d.is & bits) == 0) return;
  d.is &= ~bits;
  for (let i: u32 = 0; i < d.portCount; i++) {
    if (((bits & d.pi) >>> i) & 1) {
      const p = portAt(d, i);
      if ((portStatus(p) & p.ie) != 0) d.is |= 1 << i;
    }
  }
  updateGlobal(d);
}
