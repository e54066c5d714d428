// The state of a PIIX IDE controller: two channels with a bus master each, two drives on each channel.
// Everything is in the device's block, so that a snapshot is a copy.
//
// [1] Intel 82371AB PIIX4 datasheet (290562-001): 4 registers, 5.3 IDE; 82371SB PIIX3 datasheet (290550-002)
// [2] ATA/ATAPI-7, T13/1532D, volumes 1 and 2
// [3] Programming Interface for Bus Master IDE Controller, revision 1.0 (SFF-8038i)
// [4] ATA8-ACS, T13/1699-D (assembly/ata/)
import { AtaDevice, AtaTask } from '../ata/device';
import { abortPacket } from '../ata/packet';
import { Device, functionOf } from '../bus/device';
import { driveLine } from '../bus/irq';
import { get8 } from '../bus/pci';
import { dropRequest, Request } from '../media/media';
import { IDE_CONTROL_NIEN, MASTER_INTERRUPT, PIIX_CHANNELS, PIIX_DECODE, PIIX_IDETIM } from './regs';

/** The controller's own events; the tag is the channel. */
export const EVENT_READY: u32 = 1;
export const EVENT_RETRY: u32 = 2;

/** What a drive waits for. */
export const PHASE_IDLE: u32 = 0;
/** The medium, or nothing any more (a drive that sleeps). */
export const PHASE_BUSY: u32 = 1;
/** The host, which takes or brings a block through the data port. */
export const PHASE_PIO: u32 = 2;
/** The bus master. */
export const PHASE_DMA: u32 = 3;
/** A bus master that gave up: only a reset helps. */
export const PHASE_STALLED: u32 = 4;

const DRIVES: u32 = 2;
const CHANNEL_STRIDE: u32 = 512;
const DRIVE_AT: u32 = 64;
const DRIVE_STRIDE: u32 = 192;
/** Behind the device's fields: the entry of a table that was fetched, then the channels. */
const SCRATCH_BYTES: u32 = 16;
const ALIGNMENT: u32 = 8;
export const PIIX_STATE: u32 = ALIGNMENT + SCRATCH_BYTES + PIIX_CHANNELS * CHANNEL_STRIDE;

@unmanaged
export class Piix extends Device {
  /** Entries that the bus master walks before it gives up. */
  entries: u32;
  /** Channels that decode their ports after a reset, one bit each. */
  enabled: u32;
  /** Non-zero: as virtual machines are where boards are not (src/controllers/piix-ide.ts). */
  lenient: u32;
}

@unmanaged
export class Channel {
  number: u32;
  /** Interrupt line, and whether it is asserted. */
  line: u32;
  intrq: u32;
  /** The drive that the device register selects. */
  selected: u32;
  /** Device control register. */
  control: u32;
  /** Non-zero from the end of SRST until the drives have their signature. */
  resetting: u32;

  // Bus master.
  command: u32;
  status: u32;
  table: u32;
  /** The next entry of the table, how many were fetched, and whether the last one was the table's end. */
  next: u32;
  fetched: u32;
  last: u32;
  /** What is left of the entry in hand. */
  address: u32;
  left: u32;
}

/** A drive's place on the cable: its registers as the host reads them, and the command in it. */
@unmanaged
export class Drive extends AtaTask {
  /** Number on the channel. */
  number: u32;
  /** Offset of the ATA device; its `disk` is 0 where no drive is. */
  ata: u32;
  phase: u32;
  /** Non-zero while the drive wants to interrupt. */
  pending: u32;
  /** Non-zero while the command waits for a free media request. */
  waiting: u32;

  // Registers. 16 bits: what was written last, and what was written before in the high byte.
  regStatus: u32;
  regError: u32;
  regFeature: u32;
  regCount: u32;
  regLow: u32;
  regMid: u32;
  regHigh: u32;
  regDevice: u32;

  // PIO: the block in hand.
  /** Offset of the drive's buffer for a block from or to the medium, ATA_BLOCK_MAX bytes. */
  sectorBuffer: u32;
  /** Where the block lies, the bytes of it that went, and its length. */
  buffer: u32;
  position: u32;
  blockBytes: u32;
  /** STEP_* that follows the block. */
  after: u32;
  /** Non-zero until the first block was asked for. */
  first: u32;
}

export function channelAt(d: Piix, number: u32): Channel {
  return changetype<Channel>(prdScratch(d) + SCRATCH_BYTES + number * CHANNEL_STRIDE);
}

export function driveAt(c: Channel, number: u32): Drive {
  return changetype<Drive>(changetype<usize>(c) + DRIVE_AT + number * DRIVE_STRIDE);
}

export function checkLayout(): void {
  assert(offsetof<Channel>() <= DRIVE_AT && offsetof<Drive>() <= DRIVE_STRIDE);
  assert(DRIVE_AT + DRIVES * DRIVE_STRIDE <= CHANNEL_STRIDE);
}

export function prdScratch(d: Piix): usize {
  return changetype<usize>(d) + ((offsetof<Piix>() + ALIGNMENT - 1) & ~(<usize>ALIGNMENT - 1));
}

export function ataOf(v: Drive): AtaDevice {
  return changetype<AtaDevice>(<usize>v.ata);
}

export function isPresent(v: Drive): bool {
  return ataOf(v).disk != 0;
}

export function selectedDrive(c: Channel): Drive {
  return driveAt(c, c.selected);
}

/** Whether the channel decodes its ports: bit 7 of 41h or 43h ([1] 4.1.9). */
export function isDecoded(d: Piix, number: u32): bool {
  return (get8(functionOf(d), PIIX_IDETIM + 2 * number + 1) & PIIX_DECODE) != 0;
}

/** What a media request carries to find its drive again. */
export function requestTag(c: Channel, v: Drive): u32 {
  return (c.number << 1) | v.number;
}

/** Remembers what DMA is done for. */
export function nameCommand(d: Piix, c: Channel, v: Drive): void {
  d.command = requestTag(c, v);
}

/**
 * Brings INTRQ to what the selected drive wants ([2] volume 2, 5.2.9). The bus master notes its rising edge, whatever
 * the command was ([3] 2.2).
 */
export function updateInterrupt(d: Piix, c: Channel): void {
  const v = selectedDrive(c);
  const wanted = isPresent(v) && v.pending != 0 && (c.control & IDE_CONTROL_NIEN) == 0;
  if (wanted == (c.intrq != 0)) return;
  c.intrq = wanted ? 1 : 0;
  if (wanted) c.status |= MASTER_INTERRUPT;
  driveLine(d, c.line, wanted);
}

/** Forgets the drive's command. */
export function giveUp(v: Drive): void {
  if (v.request != 0) dropRequest(changetype<Request>(<usize>v.request));
  abortPacket(ataOf(v));
  v.request = 0;
  v.waiting = 0;
  v.pending = 0;
  v.phase = PHASE_IDLE;
}

/** Shows the outcome that the device left in its task file. */
export function showTaskFile(v: Drive): void {
  const a = ataOf(v);
  v.regStatus = a.status;
  v.regError = a.error;
  v.regCount = a.count & 0xffff;
  v.regLow = twice(a.lba, 0);
  v.regMid = twice(a.lba, 8);
  v.regHigh = twice(a.lba, 16);
  v.regDevice = a.device;
}

/** The two bytes of an LBA that one register holds ([2] 6.2). */
function twice(lba: u64, shift: u64): u32 {
  return (<u32>(lba >> shift) & 0xff) | ((<u32>(lba >> (shift + 24)) & 0xff) << 8);
}
