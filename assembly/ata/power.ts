// The power management feature set ([1] 4.15; references in device.ts), of disks and of devices that take packets.
import { AtaDevice, AtaTask, abort, POWER_SLEEP, succeed } from './device';
import {
  ATA_CHECK_POWER,
  ATA_IDLE,
  ATA_IDLE_IMMEDIATE,
  ATA_IDLE_IMMEDIATE_OLD,
  ATA_IDLE_OLD,
  ATA_POWER_IDLE,
  ATA_POWER_STANDBY,
  ATA_SLEEP,
  ATA_SLEEP_OLD,
  ATA_STANDBY,
  ATA_STANDBY_IMMEDIATE,
  ATA_STANDBY_IMMEDIATE_OLD,
  ATA_STANDBY_OLD,
} from './regs';

/** The commands from E0h on; any other one is aborted. */
export function powerOrAbort(a: AtaDevice, t: AtaTask): u32 {
  switch (t.command) {
    case ATA_STANDBY_IMMEDIATE:
    case ATA_STANDBY:
    case ATA_IDLE_IMMEDIATE:
    case ATA_IDLE:
    case ATA_CHECK_POWER:
    case ATA_SLEEP:
      return power(a, t);
    default:
      return abort(a, t);
  }
}

/** A command of the set, by its code of today or by that of old. */
export function power(a: AtaDevice, t: AtaTask): u32 {
  const before = a.power;
  switch (t.command) {
    case ATA_STANDBY_IMMEDIATE:
    case ATA_STANDBY_IMMEDIATE_OLD:
    case ATA_STANDBY:
    case ATA_STANDBY_OLD:
      a.power = ATA_POWER_STANDBY;
      break;
    case ATA_IDLE_IMMEDIATE:
    case ATA_IDLE_IMMEDIATE_OLD:
    case ATA_IDLE:
    case ATA_IDLE_OLD:
      a.power = ATA_POWER_IDLE;
      break;
    case ATA_SLEEP:
    case ATA_SLEEP_OLD:
      a.power = POWER_SLEEP;
      break;
    default:
      t.count = before;
      break;
  }
  return succeed(a, t);
}
