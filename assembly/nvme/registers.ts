// The register file ([1] 3.1) and the controller's life: enable, disable, shutdown ([1] 7.6; references in
// controller.ts).
import { cancel, schedule } from '../bus/clock';
import { Device } from '../bus/device';
import { MEDIA_FLUSH, MEDIA_PENDING } from '../media/codes';
import { beginRequest, dropRequest, endRequest, finishRequest, Request } from '../media/media';
import {
  ADMIN_COMMANDS,
  commandAt,
  completionsAt,
  diskAt,
  EVENT_READY,
  EVENT_SHUTDOWN,
  EVENT_STOPPED,
  EVENT_WORK,
  freeAll,
  freeCommand,
  IO_COMMANDS,
  isActive,
  Nvme,
  namespaceAt,
  queueAt,
  STATE_DISABLED,
  STATE_READY,
  STATE_STARTING,
  STATE_STOPPING,
} from './controller';
import { forgetEvents } from './events';
import { restoreFeatures } from './features';
import { endFormat } from './format';
import { VERSION } from './identify';
import { forgetInterrupt, setMask } from './interrupt';
import { giveUp, stopRetrying } from './io';
import { readMemoryRegister, resetMemory, writeMemoryRegister } from './memory';
import { doorbell, openCompletions, openQueue } from './queue';
import {
  NVME_ACQ,
  NVME_ACQ_HIGH,
  NVME_AQA,
  NVME_AQA_ACQS_SHIFT,
  NVME_AQA_MASK,
  NVME_ASQ,
  NVME_ASQ_HIGH,
  NVME_CAP,
  NVME_CAP_AMS_WRR,
  NVME_CAP_HIGH,
  NVME_CAP_MPSMAX_SHIFT,
  NVME_CC,
  NVME_CC_AMS,
  NVME_CC_AMS_SHIFT,
  NVME_CC_CSS,
  NVME_CC_EN,
  NVME_CC_HELD,
  NVME_CC_MPS_SHIFT,
  NVME_CC_SHN,
  NVME_CC_SHN_NORMAL,
  NVME_CC_WRITABLE,
  NVME_CSTS,
  NVME_CSTS_CFS,
  NVME_CSTS_NSSRO,
  NVME_CSTS_RDY,
  NVME_CSTS_SHST,
  NVME_CSTS_SHST_BUSY,
  NVME_CSTS_SHST_DONE,
  NVME_DOORBELLS,
  NVME_DOORBELLS_END,
  NVME_INTMC,
  NVME_INTMS,
  NVME_NSSR,
  NVME_NSSR_VALUE,
  NVME_VS,
} from './regs';

const STOP_NS: u64 = 10_000;
const SHUTDOWN_NS: u64 = 100_000;
/** Tags of a shutdown's flushes are above those of commands. */
export const SHUTDOWN_TAG: u32 = 0x10000;
/** Low 12 bits of the admin queues' addresses are not there ([1] 3.1.9). */
const PAGE_MASK: u64 = 0xfff;

/** A read of a dword. */
export function readRegister(d: Nvme, at: u32): u32 {
  switch (at) {
    case NVME_CAP:
      return d.capLow;
    case NVME_CAP_HIGH:
      return d.capHigh;
    case NVME_VS:
      return VERSION;
    case NVME_INTMS:
    case NVME_INTMC:
      return d.masked;
    case NVME_CC:
      return d.cc;
    case NVME_CSTS:
      return d.csts;
    case NVME_AQA:
      return d.aqa;
    case NVME_ASQ:
      return <u32>d.asq;
    case NVME_ASQ_HIGH:
      return <u32>(d.asq >> 32);
    case NVME_ACQ:
      return <u32>d.acq;
    case NVME_ACQ_HIGH:
      return <u32>(d.acq >> 32);
    default:
      return readMemoryRegister(d, at);
  }
}

/** A write of a dword; 64-bit registers take their halves one by one. */
export function writeRegister(d: Nvme, at: u32, value: u32): void {
  if (at >= <u32>NVME_DOORBELLS) {
    const stride: u32 = (<u32>4) << d.stride;
    const offset = at - NVME_DOORBELLS;
    if (at < <u32>NVME_DOORBELLS_END && offset % stride == 0) doorbell(d, offset / stride, value & 0xffff);
    return;
  }
  switch (at) {
    case NVME_INTMS:
      return setMask(d, d.masked | value);
    case NVME_INTMC:
      return setMask(d, d.masked & ~value);
    case NVME_CC:
      return configure(d, value & NVME_CC_WRITABLE);
    case NVME_CSTS:
      d.csts &= ~(value & NVME_CSTS_NSSRO);
      return;
    case NVME_NSSR:
      if (value == NVME_NSSR_VALUE) resetSubsystem(d);
      return;
    case NVME_AQA:
      d.aqa = value & NVME_AQA_MASK;
      return;
    case NVME_ASQ:
      d.asq = (d.asq & 0xffffffff00000000) | (<u64>value & ~PAGE_MASK);
      return;
    case NVME_ASQ_HIGH:
      d.asq = (d.asq & 0xffffffff) | ((<u64>value) << 32);
      return;
    case NVME_ACQ:
      d.acq = (d.acq & 0xffffffff00000000) | (<u64>value & ~PAGE_MASK);
      return;
    case NVME_ACQ_HIGH:
      d.acq = (d.acq & 0xffffffff) | ((<u64>value) << 32);
      return;
    default:
      writeMemoryRegister(d, at, value);
  }
}

/** CC ([1] 3.1.5). */
function configure(d: Nvme, value: u32): void {
  const before = d.cc;
  const enabled = (before & NVME_CC_EN) != 0;
  if (enabled && (value & NVME_CC_EN) != 0) value = (value & ~NVME_CC_HELD) | (before & NVME_CC_HELD);
  d.cc = value;
  if (!enabled && (value & NVME_CC_EN) != 0) {
    // One that still stops starts when it has stopped.
    if (d.state == STATE_DISABLED) start(d);
  } else if (enabled && (value & NVME_CC_EN) == 0) {
    disable(d);
  }
  const asks = value & NVME_CC_SHN;
  if (asks != 0 && asks != (before & NVME_CC_SHN) && (d.csts & NVME_CSTS_SHST) == 0)
    shutDown(d, asks == <u32>NVME_CC_SHN_NORMAL);
}

/** CC.EN rises: settings that do not exist are fatal, else the controller is ready after its time. */
function start(d: Nvme): void {
  const mps = (d.cc >>> NVME_CC_MPS_SHIFT) & 15;
  const ams = (d.cc & NVME_CC_AMS) >>> NVME_CC_AMS_SHIFT;
  const weighted = (d.capLow & NVME_CAP_AMS_WRR) != 0;
  const submissions = d.aqa & 0xfff;
  const completions = d.aqa >>> NVME_AQA_ACQS_SHIFT;
  const bad =
    (d.cc & NVME_CC_CSS) != 0 ||
    mps > ((d.capHigh >>> NVME_CAP_MPSMAX_SHIFT) & 15) ||
    ams > (weighted ? 1 : 0) ||
    submissions == 0 ||
    completions == 0;
  if (bad) {
    d.csts |= NVME_CSTS_CFS;
    return;
  }
  // A shutdown while the controller was disabled ends with that: nothing is left that CC.EN could clear.
  for (let id: u32 = 1; id <= d.namespaceCount; id++) dropFlush(d, id);
  cancel(d, EVENT_SHUTDOWN, 0);
  d.csts &= ~NVME_CSTS_SHST;
  d.pageShift = 12 + mps;
  d.state = STATE_STARTING;
  if (!schedule(d, EVENT_READY, 0, <u64>d.readyDelay * 1000)) ready(d);
}

/** EVENT_READY. */
export function ready(d: Nvme): void {
  d.state = STATE_READY;
  d.csts |= NVME_CSTS_RDY;
  // The host knows of none yet.
  d.changed = 0;
  openCompletions(d, 0, d.acq, (d.aqa >>> NVME_AQA_ACQS_SHIFT) + 1, 0, true);
  openQueue(d, 0, d.asq, (d.aqa & 0xfff) + 1, 0, 0);
}

/** CC.EN falls: a controller reset ([1] 7.3.2), which leaves the admin queues' registers. */
function disable(d: Nvme): void {
  const wasReady = (d.csts & NVME_CSTS_RDY) != 0;
  forgetAll(d);
  d.csts = wasReady ? d.csts & (NVME_CSTS_RDY | NVME_CSTS_NSSRO) : d.csts & NVME_CSTS_NSSRO;
  if (wasReady && schedule(d, EVENT_STOPPED, 0, STOP_NS)) d.state = STATE_STOPPING;
  else stopped(d);
}

/** EVENT_STOPPED. */
export function stopped(d: Nvme): void {
  d.csts &= ~NVME_CSTS_RDY;
  d.state = STATE_DISABLED;
  if ((d.cc & NVME_CC_EN) != 0) start(d);
}

/** CC.SHN: a normal shutdown writes the caches out, an abrupt one does not ([1] 7.6.2). */
function shutDown(d: Nvme, normal: bool): void {
  d.csts = (d.csts & ~NVME_CSTS_SHST) | NVME_CSTS_SHST_BUSY;
  if (!normal) d.unsafe++;
  for (let id: u32 = 1; normal && id <= d.namespaceCount; id++) {
    if (!isActive(d, id)) continue;
    const n = namespaceAt(d, id);
    const r = beginRequest(
      changetype<Device>(changetype<usize>(d)),
      diskAt(n),
      MEDIA_FLUSH,
      0,
      0,
      SHUTDOWN_TAG | id,
    );
    if (r === null) continue;
    n.flush = <u32>changetype<usize>(r);
    d.flushes++;
  }
  if (d.flushes == 0 && !schedule(d, EVENT_SHUTDOWN, 0, SHUTDOWN_NS)) shutDownDone(d);
}

/** The medium is ready to flush, or has flushed. */
export function shutDownMedia(d: Nvme, r: Request, pending: bool): void {
  if (!pending || finishRequest(r) != MEDIA_PENDING) endFlush(d, r);
}

function endFlush(d: Nvme, r: Request): void {
  namespaceAt(d, r.tag & 0xffff).flush = 0;
  endRequest(r);
  d.flushes--;
  if (d.flushes == 0) shutDownDone(d);
}

/** EVENT_SHUTDOWN, or the last flush is done. What still runs is given up: memory is the host's again ([1] 7.6.2). */
export function shutDownDone(d: Nvme): void {
  for (let i: u32 = 0; i < IO_COMMANDS + ADMIN_COMMANDS; i++) {
    const c = commandAt(d, i);
    if (c.busy != 1) continue;
    giveUp(d, c);
    if (c.sq == 0) endFormat(d, c);
    freeCommand(d, c);
  }
  d.csts = (d.csts & ~NVME_CSTS_SHST) | NVME_CSTS_SHST_DONE;
}

/** A disk goes away: so does its flush. */
export function dropFlush(d: Nvme, id: u32): void {
  const n = namespaceAt(d, id);
  if (n.flush == 0) return;
  dropRequest(changetype<Request>(<usize>n.flush));
  n.flush = 0;
  d.flushes--;
  if (d.flushes == 0) shutDownDone(d);
}

/** NSSR ([1] 7.3.1). */
function resetSubsystem(d: Nvme): void {
  resetRegisters(d);
  d.csts |= NVME_CSTS_NSSRO;
}

/** Every register as after power-on. */
export function resetRegisters(d: Nvme): void {
  forgetAll(d);
  resetMemory(d);
  d.masked = 0;
  d.cc = 0;
  d.csts = 0;
  d.aqa = 0;
  d.asq = 0;
  d.acq = 0;
  setMask(d, 0);
}

/** Commands, queues and events are gone; so is what they have in the event queue. */
function forgetAll(d: Nvme): void {
  cancel(d, EVENT_READY, 0);
  cancel(d, EVENT_STOPPED, 0);
  cancel(d, EVENT_SHUTDOWN, 0);
  if (d.working != 0) cancel(d, EVENT_WORK, 0);
  d.working = 0;
  d.state = STATE_DISABLED;
  for (let i: u32 = 0; i < IO_COMMANDS + ADMIN_COMMANDS; i++)
    if (commandAt(d, i).busy == 1) giveUp(d, commandAt(d, i));
  for (let id: u32 = 1; id <= d.namespaceCount; id++) {
    dropFlush(d, id);
    namespaceAt(d, id).formatting = 0;
  }
  stopRetrying(d);
  freeAll(d);
  for (let id: u32 = 0; id <= d.queueCount; id++) {
    queueAt(d, id).exists = 0;
    if (completionsAt(d, id).exists != 0) forgetInterrupt(d, id);
    completionsAt(d, id).exists = 0;
  }
  d.work = 0;
  d.full = 0;
  d.dirty = 0;
  d.turn = 0;
  d.creditHigh = 0;
  d.creditMedium = 0;
  d.creditLow = 0;
  d.pageShift = 12;
  d.firmwareBytes = 0;
  d.firmwareSlot = d.firmwareNext;
  d.warning = 0;
  forgetEvents(d);
  restoreFeatures(d);
}
