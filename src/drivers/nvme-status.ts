// How an NVMe command failed, in the words of the driver interface.
//
// [1] NVM Express 1.4

import * as regs from '../../assembly/nvme/regs.ts';
import {
  ASC_LBA_RANGE,
  ASC_READ_ERROR,
  ASC_WRITE_ERROR,
  ASC_WRITE_PROTECTED,
  KEY_DATA_PROTECT,
  KEY_ILLEGAL_REQUEST,
  KEY_MEDIUM_ERROR,
} from '../../assembly/scsi/regs.ts';
import { setSense, transferBytes } from './ata.ts';
import type { CommandStatus, DriverCommand } from './driver.ts';

/** Ends a command as its status says ([1] 4.6.1): with sense data where SCSI has any for it. */
export function fail(command: DriverCommand, status: number): void {
  command.senseLength = 0;
  command.residual = transferBytes(command);
  switch (status) {
    case regs.NVME_LBA_RANGE:
      setSense(command, KEY_ILLEGAL_REQUEST, ASC_LBA_RANGE);
      break;
    case regs.NVME_READ_ERROR:
      setSense(command, KEY_MEDIUM_ERROR, ASC_READ_ERROR);
      break;
    case regs.NVME_WRITE_FAULT:
      setSense(command, KEY_MEDIUM_ERROR, ASC_WRITE_ERROR);
      break;
    case regs.NVME_WRITE_PROTECTED:
      setSense(command, KEY_DATA_PROTECT, ASC_WRITE_PROTECTED);
      break;
    default:
      command.status = statusOf(status);
  }
}

/** What a status without sense data means to the kernel. */
function statusOf(status: number): CommandStatus {
  switch (status) {
    case regs.NVME_ABORT_REQUESTED:
    case regs.NVME_ABORT_SQ_DELETED:
      return 'aborted';
    case regs.NVME_INVALID_NAMESPACE:
    case regs.NVME_INVALID_FIELD:
      return 'no-device';
    case regs.NVME_DATA_TRANSFER:
    case regs.NVME_PRP_OFFSET:
    case regs.NVME_SGL_SEGMENT:
    case regs.NVME_SGL_COUNT:
    case regs.NVME_SGL_LENGTH:
    case regs.NVME_SGL_TYPE:
      return 'transport-error';
    case regs.NVME_FORMAT_IN_PROGRESS:
      return 'busy';
    default:
      return 'device-error';
  }
}
