// A character driver for Solaris, whole: an application's transfers overlap in its memory, which is locked once; each gets
// a buf, and a PIIX4, whose address lines end at 4 GiB, moves it by DMA, window by window, from interrupt to interrupt.

import type { Sleeps } from 'backplane/kernel';
import { createMachine } from 'backplane/machine';
import * as S from 'backplane/solaris'; // its constants and structures; its functions are in `sol`

const machine = await createMachine();
const controller = machine.addController({ kind: 'piix4' });
const disk = machine.addDisk({ bytes: 1 << 20 });
controller.attach(disk, 0);
const sol = S.bootSolaris(machine, { userPages: { from: 2 ** 32 } }); // memory out of reach of the PIIX4
const { scheduler, spawnProcess, vm } = sol.kernel;

// ---- the hardware: the bus master of the primary channel, and the registers of its drive

const [BM_COMMAND, BM_STATUS, BM_TABLE, BM_START, BM_READ, BM_INTR] = [0, 2, 4, 1, 8, 4] as const;
const [COUNT, LBA, DEVICE, STATUS, COMMAND, ERR] = [2, 3, 6, 7, 7, 1] as const;
const [READ_DMA, WRITE_DMA, LAST_ENTRY] = [0xc8, 0xca, 0x80000000] as const;
const reach = { dma_attr_version: 0, dma_attr_addr_lo: 0, dma_attr_addr_hi: 0xffffffff, dma_attr_align: 4 };
const sizes = { dma_attr_minxfer: 2, dma_attr_maxxfer: 0x8000, dma_attr_granular: 512 };
const lists = { dma_attr_seg: 0xffff, dma_attr_count_max: 0xffff, dma_attr_sgllen: 3 }; // few, to see windows
const attr = { ...reach, ...sizes, ...lists, dma_attr_burstsizes: 1, dma_attr_flags: 0 };

/** Registers, or memory that the device reads. */
class Space {
  readonly at = new S.Pointer<number>();
  readonly acc = new S.Pointer<S.DdiAccHandle>();
  get8 = (reg: number): number => sol.ddi_get8(this.acc.deref, this.at.deref + reg);
  put8 = (reg: number, value: number): void => sol.ddi_put8(this.acc.deref, this.at.deref + reg, value);
  put32 = (reg: number, value: number): void => sol.ddi_put32(this.acc.deref, this.at.deref + reg, value);
}
const [master, ide, table, tableCookie] = [new Space(), new Space(), new Space(), new S.DdiDmaCookie()];

// ---- the driver

const [dip, mutex, queue] = [new S.DevInfo(controller, 'xx'), new S.KmutexIntr(), [] as Job[]];
const [len, num, dma] = [new S.Pointer<number>(), new S.Pointer<number>(), new S.Pointer<S.DdiDmaHandle>()];
/** A buf that is bound, its window and where that begins. The first of the queue is with the hardware. */
type Job = { bp: S.Buf; handle: S.Pointer<S.DdiDmaHandle>; window: number; offset: S.Pointer<number> };

/** Gives the current window to the hardware: a table of its cookies, and a command for the drive. */
function program({ bp, handle, offset }: Job): void {
  const [reads, block] = [(bp.b_flags & S.B_READ) !== 0, bp.b_blkno + (offset.value ?? 0) / 512];
  const last = sol.ddi_dma_ncookies(handle.deref) - 1;
  let bytes = 0;
  for (let i = 0; i <= last; i++) {
    const { dmac_address, dmac_size } = sol.ddi_dma_cookie_get(handle.deref, i) ?? tableCookie;
    table.put32(8 * i, dmac_address);
    table.put32(8 * i + 4, (dmac_size & 0xffff) | (i === last ? LAST_ENTRY : 0));
    bytes += dmac_size;
  }
  sol.ddi_dma_sync(dma.deref, 0, 0, S.DDI_DMA_SYNC_FORDEV);
  master.put32(BM_TABLE, tableCookie.dmac_address);
  ide.put8(DEVICE, 0xe0 | (block >> 24));
  ide.put8(COUNT, bytes / 512);
  for (let i = 0; i < 3; i++) ide.put8(LBA + i, block >> (8 * i));
  ide.put8(COMMAND, reads ? READ_DMA : WRITE_DMA);
  master.put8(BM_COMMAND, (reads ? BM_READ : 0) | BM_START);
}

function xx_intr(): number {
  const [job] = queue;
  if (job === undefined || (master.get8(BM_STATUS) & BM_INTR) === 0) return S.DDI_INTR_UNCLAIMED;
  const { bp, handle, offset } = job;
  sol.mutex_enter(mutex);
  master.put8(BM_COMMAND, 0);
  const error = (ide.get8(STATUS) & ERR) !== 0 ? S.EIO : 0; // now the drive drops its line
  master.put8(BM_STATUS, BM_INTR);
  const more = error === 0 && sol.ddi_dma_getwin(handle.deref, ++job.window, offset, len, null, null) === 0;
  if (!more) queue.shift();
  if (queue[0] !== undefined) program(queue[0]);
  sol.mutex_exit(mutex);
  if (more) return S.DDI_INTR_CLAIMED;
  console.log(`  block ${bp.b_blkno}: ${bp.b_bcount} bytes, ${job.window} windows, error ${error}`);
  bp.b_resid = error === 0 ? 0 : bp.b_bcount - (offset.value ?? 0);
  sol.bioerror(bp, error);
  sol.biodone(bp); // without the mutex
  return S.DDI_INTR_CLAIMED;
}

/** `arg`: memory, its length; offset, length, block and direction of each of `cmd` transfers: words of 32 bits. */
function* xx_ioctl(dev: number, cmd: number, arg: number, mode: number): Sleeps<number> {
  const words = new Uint32Array(2 + 4 * cmd);
  if ((yield* sol.ddi_copyin(arg, new Uint8Array(words.buffer), 8 + 16 * cmd, mode)) !== 0) return S.EFAULT;
  const [addr = 0, length = 0] = words;
  const [memory, jobs] = [new S.Pointer<S.UmemCookie>(), [] as Job[]];
  let error = yield* sol.ddi_umem_lock(addr, length, S.DDI_UMEMLOCK_READ | S.DDI_UMEMLOCK_WRITE, memory);
  if (error !== 0) return error;
  for (let i = 2; i < words.length; i += 4) {
    const [off = 0, bytes = 0, block = 0, way = 0] = words.subarray(i);
    const bp = yield* sol.ddi_umem_iosetup(memory.deref, off, bytes, way, dev, block, null, S.DDI_UMEM_SLEEP);
    if (bp === null) break;
    const job: Job = { bp, handle: new S.Pointer(), window: 0, offset: new S.Pointer() };
    const flags = S.DDI_DMA_PARTIAL | (way === S.B_READ ? S.DDI_DMA_READ : S.DDI_DMA_WRITE);
    yield* sol.ddi_dma_alloc_handle(dip, attr, S.DDI_DMA_SLEEP, null, job.handle);
    yield* sol.ddi_dma_buf_bind_handle(job.handle.deref, bp, flags, S.DDI_DMA_SLEEP, null, null, null);
    sol.mutex_enter(mutex);
    if (queue.push(job) === 1) program(job);
    sol.mutex_exit(mutex);
    jobs.push(job);
  }
  if (jobs.length < cmd) error = S.EINVAL; // the ones before it are moved all the same
  for (const { bp, handle } of jobs) {
    error = (yield* sol.biowait(bp)) || error;
    sol.ddi_dma_unbind_handle(handle.deref); // copies what the hardware does not reach
    sol.ddi_dma_free_handle(handle);
    sol.freerbuf(bp);
  }
  sol.ddi_umem_unlock(memory.deref);
  return error;
}

function* xx_attach(): Sleeps<number> {
  for (const [i, s] of [master, ide].entries()) sol.ddi_regs_map_setup(dip, i + 1, s.at, 0, 0, null, s.acc);
  yield* sol.ddi_dma_alloc_handle(dip, attr, S.DDI_DMA_SLEEP, null, dma);
  yield* sol.ddi_dma_mem_alloc(dma.deref, 64, null, 0, S.DDI_DMA_SLEEP, null, table.at, len, table.acc);
  const [h, way, kaddr] = [dma.deref, S.DDI_DMA_WRITE, table.at.deref];
  yield* sol.ddi_dma_addr_bind_handle(h, null, kaddr, 64, way, S.DDI_DMA_SLEEP, null, tableCookie, num);
  sol.ddi_get_iblock_cookie(dip, 0, num);
  sol.mutex_init(mutex, 'xx', S.MUTEX_DRIVER, num.value);
  sol.ddi_add_intr(dip, 0, null, new S.Pointer(), xx_intr, null);
  return sol.ddi_create_minor_node(dip, 'a', S.S_IFCHR, 0, S.DDI_PSEUDO, 0);
}

// ---- an application

const devo_cb_ops = { cb_open: S.nulldev, cb_close: S.nulldev, cb_ioctl: xx_ioctl };
sol.mod_install({ drv_name: 'xx', drv_dev_ops: { devo_attach: xx_attach, devo_cb_ops } });
scheduler.complete('attach', () => sol.devi_attach(dip));
const [buffer, list, bytes] = [0x100000, 0x200000, 0x10000];
const text = Uint8Array.from({ length: bytes }, (_, i) => 97 + (i >> 12)); // a page of a, a page of b …
const app = spawnProcess('app', function* (_proc, as) {
  for (const address of [buffer, list]) yield* as.mmap({ address, length: bytes, prot: 3 });
  const [file, rval] = [new S.Pointer<S.SpecFile>(), new S.Pointer<number>()];
  yield* sol.spec_open('xx@0:a', S.FREAD | S.FWRITE, file);
  function* transfer(...words: number[]): Sleeps<void> {
    yield* vm.userCopy.toUser(as, list, new Uint8Array(Uint32Array.of(buffer, bytes, ...words).buffer));
    console.log(`errno ${yield* sol.spec_ioctl(file.deref, words.length / 4, list, rval)}`);
  }
  yield* vm.userCopy.toUser(as, buffer, text);
  yield* transfer(0, 0xc000, 0, S.B_WRITE, 0x1000, 0x2000, 500, S.B_WRITE, 0x1c00, 1024, 700, S.B_WRITE);
  machine.addFault({ disk, kind: 'error', operations: ['read'], first: 501, last: 501 });
  yield* transfer(0, 0xc000, 0, S.B_READ, 0, 1024, 700, S.B_READ, 0x5000, 1024, 500, S.B_READ);
  yield* vm.userCopy.fromUser(as, buffer, text);
  console.log([0, 0x200, 0x400, 0x1000].map((at) => String.fromCharCode(text[at] ?? 0)).join(' '));
});
scheduler.run({ until: app });
console.log(`${machine.guard.findings().length} findings`);
