// The admin command set ([1] 5; references in controller.ts): queues, Abort, and the way to the others.
import { functionOf } from '../bus/device';
import { moveBuffer, moveEnd } from '../bus/mover';
import { msixEnabled } from '../bus/msix';
import {
  ADMIN_COMMANDS,
  bit,
  Command,
  commandAt,
  completionsAt,
  freeCommand,
  IO_COMMANDS,
  NONE,
  Nvme,
  PAGE,
  queueAt,
  takeCommand,
} from './controller';
import { walkData } from './data';
import { abortEvent, clearEvent, requestEvent } from './events';
import { runFeatures } from './features';
import { commitFirmware, downloadFirmware, endFormat, startFormat } from './format';
import { makeIdentify } from './identify';
import { forgetInterrupt } from './interrupt';
import { giveUp } from './io';
import { makeLog } from './logs';
import { isMisused } from './memory';
import { complete, openCompletions, openQueue } from './queue';
import {
  NVME_ABORT_REQUESTED,
  NVME_ABORT_SQ_DELETED,
  NVME_ADMIN_ABORT,
  NVME_ADMIN_ASYNC_EVENT,
  NVME_ADMIN_CREATE_CQ,
  NVME_ADMIN_CREATE_SQ,
  NVME_ADMIN_DELETE_CQ,
  NVME_ADMIN_DELETE_SQ,
  NVME_ADMIN_FIRMWARE_COMMIT,
  NVME_ADMIN_FIRMWARE_DOWNLOAD,
  NVME_ADMIN_FORMAT,
  NVME_ADMIN_GET_FEATURES,
  NVME_ADMIN_GET_LOG_PAGE,
  NVME_ADMIN_IDENTIFY,
  NVME_ADMIN_SET_FEATURES,
  NVME_CAP_MQES_MASK,
  NVME_CC_IOCQES_SHIFT,
  NVME_CC_IOSQES_SHIFT,
  NVME_CMB_USE,
  NVME_CMBSZ_CQS,
  NVME_CMBSZ_SQS,
  NVME_CQ_INVALID,
  NVME_CQE_SHIFT,
  NVME_IDENTIFY_BYTES,
  NVME_INVALID_FIELD,
  NVME_INVALID_OPCODE,
  NVME_LOG_PAGE,
  NVME_LOG_RAE,
  NVME_LOG_SMART,
  NVME_PRP_OFFSET,
  NVME_PSDT_PRP,
  NVME_QUEUE_DELETION,
  NVME_QUEUE_ID,
  NVME_QUEUE_IEN,
  NVME_QUEUE_PC,
  NVME_QUEUE_PRIO_SHIFT,
  NVME_QUEUE_SIZE,
  NVME_SQE_SHIFT,
  NVME_SUCCESS,
  NVME_VECTOR,
} from './regs';

/** Starts a command that was fetched from the admin queue. */
export function runAdmin(d: Nvme, c: Command, fused: bool): void {
  // Admin commands have PRPs alone here ([1] 4.2).
  if (fused || c.psdt != <u32>NVME_PSDT_PRP) return complete(d, c, NVME_INVALID_FIELD);
  switch (c.opcode) {
    case NVME_ADMIN_CREATE_CQ:
      return complete(d, c, createCompletions(d, c));
    case NVME_ADMIN_CREATE_SQ:
      return complete(d, c, createQueue(d, c));
    case NVME_ADMIN_DELETE_CQ:
      return complete(d, c, deleteCompletions(d, c));
    case NVME_ADMIN_DELETE_SQ:
      return complete(d, c, deleteQueue(d, c));
    case NVME_ADMIN_IDENTIFY:
      return complete(d, c, identify(d, c));
    case NVME_ADMIN_GET_LOG_PAGE:
      return complete(d, c, getLog(d, c));
    case NVME_ADMIN_ABORT:
      return complete(d, c, abort(d, c));
    case NVME_ADMIN_GET_FEATURES:
      return runFeatures(d, c, false);
    case NVME_ADMIN_SET_FEATURES:
      return runFeatures(d, c, true);
    case NVME_ADMIN_ASYNC_EVENT:
      return requestEvent(d, c);
    case NVME_ADMIN_FIRMWARE_COMMIT:
      return complete(d, c, commitFirmware(d, c));
    case NVME_ADMIN_FIRMWARE_DOWNLOAD:
      return complete(d, c, downloadFirmware(d, c));
    case NVME_ADMIN_FORMAT:
      return startFormat(d, c);
    default:
      return complete(d, c, NVME_INVALID_OPCODE);
  }
}

/** What both kinds of queue ask: an identifier that is free, a size, contiguous memory at a page's start. */
function checkQueue(d: Nvme, c: Command, exists: bool, entryShift: u32, field: u32, use: u32): u32 {
  const id = c.cdw10 & 0xffff;
  const size = c.cdw10 >>> 16;
  if (id == 0 || id > d.queuesAllowed || exists) return NVME_QUEUE_ID;
  // Also where CC has no size of entries, or another one ([1] 3.1.5).
  if (size == 0 || size > (d.capLow & NVME_CAP_MQES_MASK) || ((d.cc >>> field) & 15) != entryShift)
    return NVME_QUEUE_SIZE;
  // CAP.CQR: contiguous ones alone.
  if ((c.cdw11 & NVME_QUEUE_PC) == 0) return NVME_INVALID_FIELD;
  if ((<u32>c.prp1 & (((<u32>1) << d.pageShift) - 1)) != 0) return NVME_PRP_OFFSET;
  return isMisused(d, c.prp1, (size + 1) << entryShift, use) ? <u32>NVME_CMB_USE : NVME_SUCCESS;
}

function createCompletions(d: Nvme, c: Command): u32 {
  const id = c.cdw10 & 0xffff;
  const exists = id <= d.queueCount && completionsAt(d, id).exists != 0;
  const status = checkQueue(d, c, exists, NVME_CQE_SHIFT, NVME_CC_IOCQES_SHIFT, NVME_CMBSZ_CQS);
  if (status != NVME_SUCCESS) return status;
  const vector = c.cdw11 >>> 16;
  // The pin and MSI have one vector.
  if (vector >= (msixEnabled(functionOf(d)) ? d.vectors : 1)) return NVME_VECTOR;
  openCompletions(d, id, c.prp1, (c.cdw10 >>> 16) + 1, vector, (c.cdw11 & NVME_QUEUE_IEN) != 0);
  return NVME_SUCCESS;
}

function createQueue(d: Nvme, c: Command): u32 {
  const id = c.cdw10 & 0xffff;
  const cq = c.cdw11 >>> 16;
  if (cq == 0 || cq > d.queuesAllowed) return NVME_QUEUE_ID;
  if (completionsAt(d, cq).exists == 0) return NVME_CQ_INVALID;
  const exists = id <= d.queueCount && queueAt(d, id).exists != 0;
  const status = checkQueue(d, c, exists, NVME_SQE_SHIFT, NVME_CC_IOSQES_SHIFT, NVME_CMBSZ_SQS);
  if (status != NVME_SUCCESS) return status;
  openQueue(d, id, c.prp1, (c.cdw10 >>> 16) + 1, cq, (c.cdw11 >>> NVME_QUEUE_PRIO_SHIFT) & 3);
  return NVME_SUCCESS;
}

/** [1] 5.5: submission queues first. */
function deleteCompletions(d: Nvme, c: Command): u32 {
  const id = c.cdw10 & 0xffff;
  if (id == 0 || id > d.queueCount || completionsAt(d, id).exists == 0) return NVME_QUEUE_ID;
  const q = completionsAt(d, id);
  if (q.users != 0) return NVME_QUEUE_DELETION;
  // Ended commands that never found room end here. Their submission queues may have been made anew elsewhere.
  let index = (d.full & bit(id)) != 0 ? q.first : NONE;
  while (index != NONE) {
    const other = commandAt(d, index);
    index = other.next;
    freeCommand(d, other);
  }
  d.full &= ~bit(id);
  q.exists = 0;
  forgetInterrupt(d, id);
  return NVME_SUCCESS;
}

/** [1] 5.6: what it still has with the controller ends as aborted. */
function deleteQueue(d: Nvme, c: Command): u32 {
  const id = c.cdw10 & 0xffff;
  if (id == 0 || id > d.queueCount || queueAt(d, id).exists == 0) return NVME_QUEUE_ID;
  for (let i: u32 = 0; i < IO_COMMANDS; i++) {
    const other = commandAt(d, i);
    if (other.busy != 1 || other.sq != id) continue;
    giveUp(d, other);
    complete(d, other, NVME_ABORT_SQ_DELETED);
  }
  const q = queueAt(d, id);
  q.exists = 0;
  d.work &= ~bit(id);
  completionsAt(d, q.cq).users--;
  return NVME_SUCCESS;
}

/** Abort ([1] 5.1): bit 0 of the result says that nothing was aborted. */
function abort(d: Nvme, c: Command): u32 {
  const sq = c.cdw10 & 0xffff;
  const cid = c.cdw10 >>> 16;
  c.result = 1;
  if (sq > d.queueCount || queueAt(d, sq).exists == 0) return NVME_INVALID_FIELD;
  // A request for an event has no slot until it ends.
  if (sq == 0 && d.freeAdmin != NONE && abortEvent(d, cid)) {
    const end = takeCommand(d, true);
    if (end === null) return NVME_SUCCESS;
    c.result = 0;
    end.sq = 0;
    end.cid = cid;
    end.result = 0;
    end.request = 0;
    end.buffer = NONE;
    complete(d, end, NVME_ABORT_REQUESTED);
    return NVME_SUCCESS;
  }
  for (let i: u32 = 0; i < IO_COMMANDS + ADMIN_COMMANDS; i++) {
    const other = commandAt(d, i);
    if (other.busy != 1 || other.sq != sq || other.cid != cid || other.index == c.index) continue;
    giveUp(d, other);
    if (sq == 0) endFormat(d, other);
    c.result = 0;
    complete(d, other, NVME_ABORT_REQUESTED);
    break;
  }
  return NVME_SUCCESS;
}

function identify(d: Nvme, c: Command): u32 {
  const status = makeIdentify(d, c);
  return status != NVME_SUCCESS ? status : give(d, c, 0, NVME_IDENTIFY_BYTES, NVME_IDENTIFY_BYTES);
}

/** Get Log Page ([1] 5.14): what lies behind the log's end is left alone. */
function getLog(d: Nvme, c: Command): u32 {
  const dwords = (((<u64>(c.cdw11 & 0xffff)) << 16) | (c.cdw10 >>> 16)) + 1;
  const offset = ((<u64>c.cdw13) << 32) | c.cdw12;
  if (dwords > <u64>((PAGE << d.mdts) >>> 2) || (offset & 3) != 0) return NVME_INVALID_FIELD;
  const log = c.cdw10 & 0xff;
  memory.fill(d.page, 0, PAGE);
  // The controller has one; by namespace there is none.
  if (log == <u32>NVME_LOG_SMART && c.nsid != 0 && c.nsid != 0xffffffff) return NVME_INVALID_FIELD;
  const size = makeLog(d, log);
  if (size == 0) return NVME_LOG_PAGE;
  if (offset > size) return NVME_INVALID_FIELD;
  const bytes = (<u32>dwords) << 2;
  const status = give(d, c, <u32>offset, bytes, min(bytes, <u32>(size - offset)));
  if (status == NVME_SUCCESS && (c.cdw10 & NVME_LOG_RAE) == 0) clearEvent(d, log);
  return status;
}

/** Moves `limit` bytes of the page, from `offset` on, into the host's buffer of `bytes` bytes. */
function give(d: Nvme, c: Command, offset: u32, bytes: u32, limit: u32): u32 {
  moveBuffer(<usize>d.page + offset, true);
  const status = walkData(d, c, bytes, limit, true);
  moveEnd();
  return status;
}
