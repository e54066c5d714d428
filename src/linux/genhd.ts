// Disks as the rest of the kernel sees them (include/linux/genhd.h, block/bio.c of 4.8): their size, their queue, and
// the account of what was done on them.

import { KernelBug } from '../kernel/index.ts';
import { mustCount } from './argument.ts';
import { type BioQueue, type BlockDevice, READ, WRITE } from './bio-struct.ts';
import type { DiskDevice, DiskStats, Gendisk } from './blkdev.ts';
import type { Linux } from './kernel.ts';

/** Jiffies in a second of virtual time. */
export const HZ = 1000;
const NS_PER_JIFFY = 1e9 / HZ;

export function createGenhd(k: Linux) {
  function jiffiesNow(): number {
    return Math.floor(k.scheduler.now() / NS_PER_JIFFY);
  }

  /** Brings the sums of time up to now: what is in flight was in flight all the while. */
  function roundStats(stats: DiskStats): void {
    const now = jiffiesNow();
    const passed = now - stats.stamp;
    const inFlight = stats.in_flight[0] + stats.in_flight[1];
    if (inFlight > 0) {
      stats.time_in_queue += inFlight * passed;
      stats.io_ticks += passed;
    }
    stats.stamp = now;
  }

  function direction(rw: number, where: string): 0 | 1 {
    if (rw !== READ && rw !== WRITE)
      throw new KernelBug('acct', `rw is ${rw}, neither READ nor WRITE`, where);
    return rw;
  }

  return {
    /** Virtual time in ticks of HZ. */
    jiffies(): number {
      return jiffiesNow();
    },

    /** Says how many sectors of 512 bytes a disk has. */
    set_capacity(disk: Gendisk, sectors: number): void {
      if (!(Number.isSafeInteger(sectors) && sectors >= 0))
        throw new KernelBug('capacity', `${sectors} sectors`, disk.disk_name);
      disk.part0.nr_sects = sectors;
    },

    /** Sectors of 512 bytes of a disk. */
    get_capacity(disk: Gendisk): number {
      return disk.part0.nr_sects;
    },

    /** The queue behind a device; null when that is gone. */
    bdev_get_queue<Queue extends BioQueue>(bdev: BlockDevice<Queue>): Queue | null {
      return bdev.queue;
    },

    /** A driver that takes bios begins one of `sectors` sectors: for the account of the device. */
    generic_start_io_acct(rw: number, sectors: number, part: DiskDevice): void {
      const dir = direction(rw, 'generic_start_io_acct');
      mustCount(sectors, 'the number of sectors', 'generic_start_io_acct');
      const stats = part.dkstats;
      roundStats(stats);
      stats.ios[dir]++;
      stats.sectors[dir] += sectors;
      stats.in_flight[dir]++;
    },

    /** It is done with it; `start_time` is what jiffies() said when it began. Any context. */
    generic_end_io_acct(rw: number, part: DiskDevice, start_time: number): void {
      const dir = direction(rw, 'generic_end_io_acct');
      const stats = part.dkstats;
      if (stats.in_flight[dir] === 0)
        throw new KernelBug('acct', 'more has ended than began', 'generic_end_io_acct');
      stats.ticks[dir] += jiffiesNow() - start_time;
      roundStats(stats);
      stats.in_flight[dir]--;
    },
  };
}
