// What the end of a command means: the result that a passthrough request shows, and the errno of a file system's
// request (drivers/scsi/scsi_lib.c and scsi_error.c).

import type { DriverCommand } from '../drivers/index.ts';
import { parseSense } from '../drivers/scsi.ts';
import { EIO, ENODATA, ENOSPC, EREMOTEIO, ETIMEDOUT } from './errno.ts';

/** Status byte of a result. */
const CHECK_CONDITION = 0x02;
const BUSY = 0x08;
/** Host byte: DID_NO_CONNECT, DID_TIME_OUT, DID_ABORT, DID_ERROR. */
const NO_CONNECT = 0x01;
const TIME_OUT = 0x03;
const ABORT = 0x05;
const ERROR = 0x07;
/** Driver byte: there is sense data. */
const DRIVER_SENSE = 0x08;

/** Sense keys, SPC-3 4.5.6. */
const NOT_READY = 0x2;
const MEDIUM_ERROR = 0x3;
const HARDWARE_ERROR = 0x4;
const ILLEGAL_REQUEST = 0x5;
const UNIT_ATTENTION = 0x6;
const DATA_PROTECT = 0x7;
const ABORTED_COMMAND = 0xb;
/** Additional sense: space allocation failed write protect; becoming ready. */
const SPACE_ALLOCATION_FAILED = 0x2707;
const BECOMING_READY = 0x0401;

export interface FinishedCommand extends Pick<DriverCommand, 'status' | 'sense' | 'senseLength'> {
  readonly timedOut: boolean;
}

export interface Outcome {
  /** Negative errno for the bios, when it is not sent again. */
  readonly error: number;
  /** It may go better next time. */
  readonly retry: boolean;
}

/** rq.errors of a passthrough request: driver, host, message and status byte. */
export function resultOf(command: FinishedCommand): number {
  switch (command.status) {
    case 'ok':
      return 0;
    case 'check-condition':
      return (command.senseLength > 0 ? DRIVER_SENSE << 24 : 0) | CHECK_CONDITION;
    case 'busy':
      return BUSY;
    case 'no-device':
      return NO_CONNECT << 16;
    case 'aborted':
      return (command.timedOut ? TIME_OUT : ABORT) << 16;
    case 'device-error':
    case 'transport-error':
      return ERROR << 16;
  }
}

/** What becomes of a file system's request whose command did not end well. */
export function errorOf(command: FinishedCommand): Outcome {
  switch (command.status) {
    case 'check-condition':
      return command.senseLength > 0 ? bySense(command.sense) : { error: -EIO, retry: true };
    case 'aborted':
      return command.timedOut ? { error: -ETIMEDOUT, retry: false } : { error: -EIO, retry: true };
    case 'busy':
    case 'transport-error':
    case 'device-error':
      return { error: -EIO, retry: true };
    case 'ok':
    case 'no-device':
      return { error: -EIO, retry: false };
  }
}

function bySense(sense: Uint8Array): Outcome {
  const { key, code } = parseSense(sense);
  switch (key) {
    case UNIT_ATTENTION:
    case ABORTED_COMMAND:
      return { error: -EIO, retry: true };
    case NOT_READY:
      return { error: -EIO, retry: code === BECOMING_READY };
    case MEDIUM_ERROR:
      return { error: -ENODATA, retry: false };
    case DATA_PROTECT:
      return { error: code === SPACE_ALLOCATION_FAILED ? -ENOSPC : -EREMOTEIO, retry: false };
    case HARDWARE_ERROR:
    case ILLEGAL_REQUEST:
      return { error: -EREMOTEIO, retry: false };
    default:
      return { error: -EIO, retry: false };
  }
}
