// Linux under a scenario: one process whose requests are passthrough commands over its own memory, as
// ioctl(SG_IO) makes them: blk_rq_map_user_iov, blk_execute_rq, blk_rq_unmap_user.

import { buildFlush, buildTransfer } from '../drivers/scsi.ts';
import { PAGE_SIZE, type Sleeps } from '../kernel/index.ts';
import {
  bootLinux,
  EIO,
  type Gendisk,
  GFP_KERNEL,
  type Iovec,
  IovIter,
  IS_ERR,
  iov_iter_init,
  type LinuxApi,
  READ,
  type Request,
  type ScsiHost,
  traceToEvents,
  WRITE,
} from '../linux/index.ts';
import { MachineError } from '../machine/index.ts';
import type { Harness, HarnessOptions, Transfer } from './kernel.ts';
import { ProcessHarness } from './process.ts';

/** Requests never carry more, whatever the hardware takes: pages that are copied count against 1024 vecs. */
const MOST_BYTES = 2 ** 20;
/** The software I/O TLB: at most this, and at most this part of the RAM at 0. */
const SWIOTLB_BYTES = 2 ** 20;
const SWIOTLB_SHARE = 1 / 4;

/** Boots Linux on the machine and attaches its driver to the controller. */
export function bootLinuxHarness(options: HarnessOptions): Harness {
  return new LinuxHarness(options);
}

class LinuxHarness extends ProcessHarness implements Harness {
  readonly #linux: LinuxApi;
  readonly #options: HarnessOptions;
  readonly #sectorBytes: number;
  readonly #stopTrace: () => void;
  readonly #iovs: Iovec[] = [];
  readonly #iter = new IovIter();
  #attached: { readonly host: ScsiHost; readonly disk: Gendisk } | null = null;

  constructor(options: HarnessOptions) {
    const { machine, disk, seed } = options;
    const low = machine.memory.regions[0]?.bytes ?? 0;
    const bytes = Math.min(SWIOTLB_BYTES, low * SWIOTLB_SHARE);
    const linux = bootLinux(machine, { seed, placement: 'scatter', swiotlb: { bytes } });
    const { kernel } = linux;
    super(kernel, (mm, body) => kernel.spawnProcess('process', (_task, space) => body(space), mm));
    this.#options = options;
    this.#sectorBytes = disk.sectorBytes;
    this.#linux = linux;
    this.#stopTrace = traceToEvents(kernel.trace, machine.tracer);
  }

  async attach(): Promise<void> {
    const { controller, bounce, attach } = this.#options;
    const linux = this.#linux;
    const host = await linux.kernel.scheduler.completeAsync('probe', function* () {
      return linux.scsi_add_host(controller, { bounce, ...(attach === undefined ? {} : { attach }) });
    });
    const disk = host.disks[0];
    if (disk === undefined) throw new MachineError(`the driver of ${controller.name} found no disk`);
    this.#attached = { host, disk };
  }

  get maxRequestBytes(): number {
    const { limits } = this.#disk.queue;
    const pages = Math.max(1, limits.max_segments - 1); // a buffer that begins inside a page touches one more
    return Math.min(MOST_BYTES, limits.max_hw_sectors * 512, pages * PAGE_SIZE);
  }

  get #disk(): Gendisk {
    if (this.#attached === null) throw new MachineError('no driver is attached');
    return this.#attached.disk;
  }

  async transfer(transfer: Transfer): Promise<number> {
    const first = transfer.ranges[0];
    if (first === undefined) return 0;
    const task = this.run(first.address, () => this.#execute(transfer));
    await this.#linux.kernel.scheduler.runAsync({ until: task });
    return task.exitValue as number; // it ended, without an exception
  }

  async flush(): Promise<number> {
    const linux = this.#linux;
    const { queue } = this.#disk;
    const disk = this.#disk;
    return linux.kernel.scheduler.completeAsync('flush', function* (): Sleeps<number> {
      const rq = yield* linux.blk_get_request(queue, READ, GFP_KERNEL);
      if (IS_ERR(rq)) return rq;
      linux.blk_rq_set_block_pc(rq);
      rq.cmd_len = buildFlush(rq.cmd);
      const error = yield* linux.blk_execute_rq(queue, disk, rq, false);
      linux.blk_put_request(rq);
      return error;
    });
  }

  async shutdown(): Promise<string[]> {
    const linux = this.#linux;
    const attached = this.#attached;
    const end = (): Sleeps<void> => this.drop();
    await linux.kernel.scheduler.completeAsync('shutdown', function* () {
      for (const { queue } of attached?.host.disks ?? []) yield* linux.blk_cleanup_queue(queue);
      if (attached !== null) linux.scsi_remove_host(attached.host);
      yield* end();
    });
    this.#stopTrace();
    const problems: string[] = [];
    const bouncing = linux.nr_bounce();
    if (bouncing !== 0) problems.push(`${bouncing} bounce pages were never given back`);
    const pinned = linux.kernel.allocator.usage().get('user') ?? 0;
    if (pinned > 0) problems.push(`${pinned} pages of the process are still pinned`);
    return problems;
  }

  *#execute(transfer: Transfer): Sleeps<number> {
    const linux = this.#linux;
    const { queue } = this.#disk;
    const rw = transfer.direction === 'write' ? WRITE : READ;
    const rq = yield* linux.blk_get_request(queue, rw, GFP_KERNEL);
    if (IS_ERR(rq)) return rq;
    linux.blk_rq_set_block_pc(rq);
    rq.cmd_len = buildTransfer(rq.cmd, rw === WRITE, transfer.sector, transfer.sectors, false);
    const error = yield* this.#mapAndExecute(rq, rw, transfer);
    linux.blk_put_request(rq);
    return error;
  }

  *#mapAndExecute(rq: Request, rw: number, transfer: Transfer): Sleeps<number> {
    const linux = this.#linux;
    const { queue } = this.#disk;
    this.#iovs.length = 0;
    for (const { address, bytes } of transfer.ranges) this.#iovs.push({ iov_base: address, iov_len: bytes });
    iov_iter_init(this.#iter, rw, this.#iovs, this.#iovs.length, transfer.sectors * this.#sectorBytes);
    const unmapped = yield* linux.blk_rq_map_user_iov(queue, rq, null, this.#iter, GFP_KERNEL);
    if (unmapped !== 0) return unmapped;
    const { bio } = rq; // what blk_rq_unmap_user() wants: a bounced one is not the same at the end
    const error = yield* linux.blk_execute_rq(queue, this.#disk, rq, false);
    rq.bio = null;
    const copied = yield* linux.blk_rq_unmap_user(bio);
    if (error !== 0 || copied !== 0) return error !== 0 ? error : copied;
    return rq.resid_len > 0 ? -EIO : 0;
  }
}
