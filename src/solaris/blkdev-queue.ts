// The disk driver towards the hardware: who waits for a slot, who is there, and how long.
//
// The lock is held while commands are given out, never while transfers end (INTR-04): b_iodone may call strategy.

import { reportCommand } from '../drivers/host.ts';
import { outcomeOf } from './blkdev-attr.ts';
import type { BdDisk, BdXfer, Host } from './blkdev-struct.ts';
import { EIO } from './errno.ts';
import type { Solaris } from './kernel.ts';

/** How often a command that failed on its way is sent again. */
const MAX_RETRIES = 5;
/** Virtual ns until commands that were refused by hardware without work are tried again. */
const DELAY_NS = 3e6;

/** Told of every command that has ended for good; error 0: well. */
export type CommandEnd = (xfer: BdXfer, error: number) => void;

export class BdQueue {
  private readonly k: Solaris;
  private readonly end: CommandEnd;

  constructor(k: Solaris, end: CommandEnd) {
    this.k = k;
    this.end = end;
  }

  /** Gives the hardware a command, as soon as it has a slot. Any context. */
  add(xfer: BdXfer): void {
    const { host, waiting } = xfer.owner;
    const flags = host.lock.lockIrqSave();
    waiting.push(xfer);
    host.lock.unlockIrqRestore(flags);
    this.start(host);
    this.settle(host);
  }

  /** The driver's `done`: may come from within any of its functions, so all else is left to settle(). */
  readonly ended = (xfer: BdXfer): void => {
    if (!xfer.open) {
      reportCommand(this.k.machine, 'done-twice', xfer, xfer.bytes, 'ended once more by its driver');
      return;
    }
    xfer.open = false;
    xfer.owner.host.ended.push(xfer);
  };

  /** A command's time is over, in interrupt context: it is given up, and if that does not help, the controller reset. */
  readonly expired = (xfer: BdXfer): void => {
    if (!xfer.open) return;
    const { k } = this;
    const { host } = xfer.owner;
    if (!xfer.timedOut && k.machine.nextDeadline() === Number.POSITIVE_INFINITY) {
      reportCommand(k.machine, 'done-lost', xfer, xfer.bytes, 'open, and the hardware has nothing to do');
    }
    const enabled = k.cpu.irqSave(); // timers run below the interrupt of the device
    if (xfer.timedOut) this.reset(xfer);
    else host.driver.abort(xfer);
    k.cpu.irqRestore(enabled);
    xfer.timedOut = true;
    if (xfer.open) k.scheduler.armTimer(xfer.timer, k.scheduler.now() + host.timeoutNs);
    this.settle(host);
  };

  /** Ends what the driver has given back, and gives it more. */
  settle(host: Host): void {
    if (host.settling) return;
    host.settling = true;
    try {
      while (host.ended.first !== null) {
        for (let xfer = host.ended.shift(); xfer !== null; xfer = host.ended.shift()) this.finish(xfer);
        this.start(host);
      }
    } finally {
      host.settling = false;
    }
  }

  /** Gives the hardware what waits, disk after disk, as far as it takes it. */
  start(host: Host): void {
    const { disks, lock, driver } = host;
    const flags = lock.lockIrqSave();
    let any = false;
    let waits: BdDisk | null = null;
    for (let i = 0; i < disks.length; i++) {
      const disk = disks[(host.turn + i) % disks.length] as BdDisk;
      while (disk.waiting.first !== null && this.submit(host, disk.waiting.first)) {
        disk.waiting.shift();
        any = true;
      }
      if (disk.waiting.first !== null) waits = disk;
    }
    host.turn = (host.turn + 1) % disks.length;
    if (any) driver.kick();
    lock.unlockIrqRestore(flags);
    if (waits !== null && host.active === 0) this.refused(host, waits);
  }

  private submit(host: Host, xfer: BdXfer): boolean {
    const { k } = this;
    if (host.active >= host.driver.limits.queueDepth) return false;
    xfer.timedOut = false;
    xfer.status = 'ok';
    xfer.residual = 0;
    xfer.senseLength = 0;
    xfer.open = true;
    if (!host.driver.submit(xfer)) {
      xfer.open = false;
      return false;
    }
    host.active++;
    if (host.timeoutNs > 0) k.scheduler.armTimer(xfer.timer, k.scheduler.now() + host.timeoutNs);
    const { tracer } = k.machine;
    if (tracer.enabled) {
      const { tag, op, bytes, segments } = xfer;
      tracer.emit('driver_submit', xfer.device, { tag, op, bytes, segments: segments.count });
    }
    return true;
  }

  /** The hardware has nothing to do and takes nothing: it is asked again in a moment, and not for ever. */
  private refused(host: Host, disk: BdDisk): void {
    const xfer = disk.waiting.first;
    if (xfer === null) return;
    if (xfer.retries++ < MAX_RETRIES) {
      this.k.scheduler.armTimer(host.retry, this.k.scheduler.now() + DELAY_NS);
      return;
    }
    disk.waiting.shift();
    this.end(xfer, EIO);
  }

  private finish(xfer: BdXfer): void {
    const { k } = this;
    const { host, waiting } = xfer.owner;
    k.scheduler.cancelTimer(xfer.timer);
    host.active--;
    const { tracer } = k.machine;
    if (tracer.enabled) {
      const { tag, status, residual } = xfer;
      tracer.emit('driver_done', null, { tag, status, residual });
    }
    const { error, retry } = outcomeOf(xfer, xfer.timedOut);
    if (retry && xfer.retries++ < MAX_RETRIES) {
      const flags = host.lock.lockIrqSave();
      waiting.unshift(xfer);
      host.lock.unlockIrqRestore(flags);
    } else this.end(xfer, error);
  }

  /** The last resort. A driver whose reset leaves commands open has lost them. */
  private reset(xfer: BdXfer): void {
    xfer.owner.host.driver.reset();
    if (!xfer.open) return;
    xfer.status = 'aborted';
    this.ended(xfer);
  }
}
