// An ATAPI device: the PACKET feature set over the drive of assembly/scsi/ (references in device.ts). A PACKET command
// brings a SCSI command of twelve bytes, whose data the transport moves; its end is in the task file, sense data are
// asked for.
import { reserve } from '../bus/arena';
import { Device } from '../bus/device';
import { Request } from '../media/media';
import { DATA_IN, KEY_ABORTED_COMMAND, STATUS_CHECK_CONDITION, STATUS_GOOD } from '../scsi/regs';
import {
  cdbOf,
  fail as failTask,
  ScsiTask,
  scsiAbort,
  scsiMediaData,
  scsiMediaDone,
  scsiStart,
  TASK_BUFFER_BYTES,
  TASK_DATA,
  TASK_WAIT,
} from '../scsi/task';
import { BUS_ATAPI, BUS_SERIAL, createUnit, insertDisk, resetUnit, unitAt } from '../scsi/unit';
import {
  ATA_SERIAL,
  ATA_VIRTUAL,
  AtaDevice,
  AtaTask,
  abort,
  diskOfAta,
  PROTOCOL_DMA_IN,
  PROTOCOL_DMA_OUT,
  PROTOCOL_NONE,
  PROTOCOL_PIO_IN,
  PROTOCOL_PIO_OUT,
  STEP_BUFFER_IN,
  STEP_DATA,
  STEP_END,
  STEP_PACKET,
  STEP_WAIT,
  setSignature,
  showTask,
} from './device';
import { buildIdentifyPacket } from './identify-packet';
import { powerOrAbort } from './power';
import {
  ATA_DEVICE_RESET,
  ATA_DEVICE_SECOND,
  ATA_ERROR_ABRT,
  ATA_EXECUTE_DIAGNOSTIC,
  ATA_IDENTIFY,
  ATA_IDENTIFY_PACKET,
  ATA_PACKET,
  ATA_PACKET_BYTES,
  ATA_PACKET_DMA,
  ATA_PACKET_OVERLAP,
  ATA_POWER_ACTIVE,
  ATA_READ_SECTORS,
  ATA_REASON_COMMAND,
  ATA_REASON_TO_HOST,
  ATA_SET_FEATURES,
  ATA_STATUS_DRDY,
  ATA_STATUS_ERR,
} from './regs';
import { setFeatures } from './settings';

/** A task behind an AtaDevice's disk, with its buffer. */
@unmanaged
export class Packet extends ScsiTask {
  /** The protocol of the data phase is DMA. */
  dma: u32;
  /** Most bytes of a data request block (PIO), and those of the data phase that were moved so far. */
  limit: u32;
  position: u32;
}

/** Whether the device is one that takes packets. */
export function isPacketDevice(a: AtaDevice): bool {
  return a.disk != 0 && diskOfAta(a).optical != 0;
}

/** Whether a command is a packet. */
export function takesPacket(a: AtaDevice, t: AtaTask): bool {
  return t.command == ATA_PACKET && isPacketDevice(a);
}

export function packetOf(a: AtaDevice): Packet {
  return changetype<Packet>(<usize>a.packet);
}

/** Makes the device one of the drive `disk`; false when the memory is used up. The caller resets it. */
export function attachDrive(a: AtaDevice, disk: u32): bool {
  if (a.packet == 0) {
    const packet = reserve(offsetof<Packet>() + TASK_BUFFER_BYTES, 16);
    const unit = createUnit();
    if (packet == 0 || unit == 0) return false;
    a.packet = packet;
    packetOf(a).unit = unit;
    packetOf(a).units = 1;
    packetOf(a).buffer = packet + offsetof<Packet>();
  }
  const u = unitAt(packetOf(a).unit);
  u.bus = (a.transport & ATA_SERIAL) != 0 ? BUS_SERIAL : BUS_ATAPI;
  u.virtual = a.transport & ATA_VIRTUAL;
  insertDisk(u, disk);
  return true;
}

/** Power-on or a hardware reset. */
export function resetPacket(a: AtaDevice): void {
  const u = unitAt(packetOf(a).unit);
  u.bus = (a.transport & ATA_SERIAL) != 0 ? BUS_SERIAL : BUS_ATAPI;
  u.virtual = a.transport & ATA_VIRTUAL;
  resetUnit(u);
}

/** Gives up the packet under way, at any moment. */
export function abortPacket(a: AtaDevice): void {
  if (a.packet != 0) scsiAbort(packetOf(a));
}

/** The commands of a device that takes packets ([3]): the step that comes first. */
export function packetCommand(a: AtaDevice, t: AtaTask): u32 {
  switch (t.command) {
    case ATA_PACKET:
      return takePacket(a, t);
    case ATA_IDENTIFY_PACKET:
      buildIdentifyPacket(a);
      t.protocol = PROTOCOL_PIO_IN;
      t.bytes = 512;
      return STEP_BUFFER_IN;
    case ATA_EXECUTE_DIAGNOSTIC:
    case ATA_DEVICE_RESET:
      a.power = ATA_POWER_ACTIVE;
      showSignature(a, t);
      return STEP_END;
    case ATA_IDENTIFY:
    case ATA_READ_SECTORS:
      // The signature tells software that this is no disk ([3], IDENTIFY DEVICE).
      showSignature(a, t);
      a.status = ATA_STATUS_DRDY | ATA_STATUS_ERR;
      a.error = ATA_ERROR_ABRT;
      return STEP_END;
    case ATA_SET_FEATURES:
      return setFeatures(a, t);
    default:
      return powerOrAbort(a, t);
  }
}

/** The signature; the device stays the one that is selected. */
function showSignature(a: AtaDevice, t: AtaTask): void {
  setSignature(a);
  a.device = t.device & ATA_DEVICE_SECOND;
}

/** PACKET: the transport brings ATA_PACKET_BYTES bytes to packetPlace(), then startPacket(). */
function takePacket(a: AtaDevice, t: AtaTask): u32 {
  if ((t.feature & ATA_PACKET_OVERLAP) != 0) return abort(a, t);
  const p = packetOf(a);
  p.dma = t.feature & ATA_PACKET_DMA;
  // Blocks are of whole words, but for the last.
  p.limit = <u32>(t.lba >> 8) & 0xfffe;
  p.cdbLow = 0;
  p.cdbHigh = 0;
  t.protocol = PROTOCOL_PIO_OUT;
  t.bytes = ATA_PACKET_BYTES;
  showTask(a, t);
  a.count = ATA_REASON_COMMAND;
  return STEP_PACKET;
}

/** Where the transport puts the packet. */
export function packetPlace(a: AtaDevice): usize {
  return cdbOf(packetOf(a));
}

/** The packet is there. `tag` goes with the medium's requests. */
export function startPacket(d: Device, a: AtaDevice, t: AtaTask, tag: u32): u32 {
  const p = packetOf(a);
  p.device = <u32>changetype<usize>(d);
  p.tag = tag;
  p.position = 0;
  a.power = ATA_POWER_ACTIVE;
  t.protocol = PROTOCOL_NONE;
  t.bytes = 0;
  scsiStart(p);
  return packetStep(a, t);
}

/** What the packet wants of the transport next. */
export function packetStep(a: AtaDevice, t: AtaTask): u32 {
  const p = packetOf(a);
  if (p.state == TASK_WAIT) return STEP_WAIT;
  if (p.state != TASK_DATA) return endPacket(a, t);
  const in_ = isToHost(p);
  if (p.dma != 0) t.protocol = in_ ? PROTOCOL_DMA_IN : PROTOCOL_DMA_OUT;
  else t.protocol = in_ ? PROTOCOL_PIO_IN : PROTOCOL_PIO_OUT;
  t.bytes = p.length;
  // No block can be of no bytes ([3]: word 125 of IDENTIFY PACKET DEVICE is 0).
  if (p.dma == 0 && p.limit == 0) {
    scsiAbort(p);
    showPacket(a, t, ATA_ERROR_ABRT);
    return STEP_END;
  }
  return STEP_DATA;
}

/** The medium that a packet asked is ready, or done (`done`). */
export function packetMedia(a: AtaDevice, t: AtaTask, r: Request, done: bool): u32 {
  if (done) scsiMediaDone(packetOf(a), r);
  else scsiMediaData(packetOf(a), r);
  return packetStep(a, t);
}

function isToHost(p: Packet): bool {
  return p.direction == DATA_IN;
}

/** Interrupt reason of a data request block. */
export function dataReason(a: AtaDevice): u32 {
  return isToHost(packetOf(a)) ? ATA_REASON_TO_HOST : 0;
}

/** The task file at the end of a command: the sense key is in the error register ([3], PACKET). */
function endPacket(a: AtaDevice, t: AtaTask): u32 {
  const p = packetOf(a);
  // A device cannot say that it is busy once it has the packet.
  if (p.status != STATUS_GOOD && p.status != STATUS_CHECK_CONDITION) failTask(p, KEY_ABORTED_COMMAND, 0);
  showPacket(a, t, p.status == STATUS_GOOD ? 0 : p.senseKey << 4);
  return STEP_END;
}

function showPacket(a: AtaDevice, t: AtaTask, error: u32): void {
  showTask(a, t);
  a.status = error != 0 ? ATA_STATUS_DRDY | ATA_STATUS_ERR : ATA_STATUS_DRDY;
  a.error = error;
  a.count = ATA_REASON_COMMAND | ATA_REASON_TO_HOST;
}
