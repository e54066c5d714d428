// A disk driver for AHCI 1.3.1, whole: registers, command slots, scatter lists, interrupts and errors, against Linux's
// block layer of 4.8. A file system's bio goes in by submit_bio(), and what the driver sees is a request.

import type { Sleeps } from 'backplane/kernel';
import * as Linux from 'backplane/linux';
import { createMachine } from 'backplane/machine';

const machine = await createMachine();
const hba = machine.addController({ kind: 'ahci' });
const medium = machine.addDisk({ bytes: 1 << 20 });
hba.attach(medium, 0);
const linux = Linux.bootLinux(machine);
const { memory, scheduler } = linux.kernel;

// ---- the hardware: generic registers, those of port 0, and the memory that the port reads (AHCI 3 and 4)

const [BAR, GHC, IS, PORT] = [5, 0x04, 0x08, 0x100] as const;
const [CLB, FB, PXIS, PXIE, CMD, TFD, SSTS, SERR, CI] = [0, 8, 16, 20, 24, 32, 40, 48, 56] as const;
const [CMD_ST, CMD_SUD, CMD_FRE, CMD_CR] = [1 << 0, 1 << 1, 1 << 4, 1 << 15] as const;
const [IS_DHRS, IS_PSS, IS_TFES] = [1 << 0, 1 << 1, 1 << 30] as const; // register frame, PIO data frame, error
const [SLOTS, SEGMENTS, FRAMES, TABLES] = [32, 168, 1024, 2048] as const;
const TABLE_BYTES = 128 + SEGMENTS * 16;
const [ATA_READ_DMA_EXT, ATA_WRITE_DMA_EXT, ATA_IDENTIFY] = [0x25, 0x35, 0xec] as const;

const port = (at: number): number => hba.read32(BAR, PORT + at);
const setPort = (at: number, value: number): void => hba.write32(BAR, PORT + at, value);

type Piece = { readonly dma_address: number; readonly dma_length: number };
const dev = new Linux.Device(hba);
/** Command slots: what each does, and the scatter list of that. */
const slots = Array.from({ length: SLOTS }, () => {
  return { rq: null as Linux.Request | null, nents: 0, dir: 0, table: linux.sg_alloc_table(SEGMENTS) };
});
let base = 0; // the command list; then received frames, and a command table for each slot
let active = 0; // slots that the port has, by bit

/** Fills a slot: the frame for the disk, the descriptors of the data, and the header that counts them. */
function command(slot: number, op: number, lba: number, sectors: number, data: Iterable<Piece>): void {
  const table = base + TABLES + slot * TABLE_BYTES;
  let at = table + 128;
  for (const { dma_address, dma_length } of data) {
    memory.write4x32(at, dma_address >>> 0, dma_address / 2 ** 32, 0, dma_length - 1);
    at += 16;
  }
  memory.write4x32(table, 0x8027 | (op << 16), (lba % 2 ** 24) | (1 << 30), lba / 2 ** 24, sectors);
  const header = 5 | (op === ATA_WRITE_DMA_EXT ? 1 << 6 : 0) | (((at - table - 128) / 16) << 16);
  memory.write4x32(base + slot * 32, header, 0, table, 0);
}

// ---- the driver: from the queue to the port, and back

/** request_fn: called with the queue's lock held and interrupts off. */
function ahci_request(q: Linux.RequestQueue): void {
  for (const [i, slot] of slots.entries()) {
    if (slot.rq !== null) continue;
    const rq = linux.blk_fetch_request(q);
    if (rq === null) return;
    const writes = Linux.rq_data_dir(rq) === Linux.WRITE;
    slot.dir = writes ? Linux.DMA_TO_DEVICE : Linux.DMA_FROM_DEVICE;
    slot.nents = linux.blk_rq_map_sg(q, rq, slot.table.sgl);
    const mapped = linux.dma_map_sg(dev, slot.table.sgl, slot.nents, slot.dir, 'ahci_request');
    if (mapped === 0) return void linux.blk_requeue_request(q, rq); // the next interrupt tries again
    slot.rq = rq;
    const sgs = linux.for_each_sg(slot.table.sgl, mapped);
    const op = writes ? ATA_WRITE_DMA_EXT : ATA_READ_DMA_EXT;
    command(i, op, linux.blk_rq_pos(rq), linux.blk_rq_sectors(rq), sgs);
    active |= 1 << i;
    setPort(CI, 1 << i);
  }
}

function finish(i: number, error: number): void {
  const slot = slots[i];
  const rq = slot?.rq;
  if (slot === undefined || rq == null) return;
  active &= ~(1 << i);
  slot.rq = null;
  linux.dma_unmap_sg(dev, slot.table.sgl, slot.nents, slot.dir, 'ahci_interrupt');
  linux.blk_end_request_all(rq, error);
}

function ahci_interrupt(_irq: number, q: Linux.RequestQueue): number {
  if ((hba.read32(BAR, IS) & 1) === 0) return Linux.IRQ_NONE;
  const status = port(PXIS);
  setPort(PXIS, status);
  const done = active & ~port(CI);
  for (let i = 0; i < SLOTS; i++) if ((done & (1 << i)) !== 0) finish(i, 0);
  if ((status & IS_TFES) !== 0) {
    const failed = (port(CMD) >>> 8) & 31; // where the port stopped; 6.2.2.1: stop it, clear, start it
    setPort(CMD, port(CMD) & ~CMD_ST);
    for (let tries = 1000; (port(CMD) & CMD_CR) !== 0 && tries > 0; tries--) memory.read32(base);
    setPort(SERR, 0xffffffff);
    setPort(CMD, port(CMD) | CMD_ST);
    finish(failed, -Linux.EIO);
    setPort(CI, active); // the others once more
  }
  hba.write32(BAR, IS, 1);
  linux.blk_run_queue(q);
  return Linux.IRQ_HANDLED;
}

/** Brings the port up, asks the disk how large it is, and adds it. */
function* ahci_probe(): Sleeps<Linux.Gendisk> {
  hba.configWrite(4, 2, 0x06); // memory space and bus mastering
  linux.dma_set_mask(dev, Linux.DMA_BIT_MASK(64)); // data anywhere; what the port reads, below 4 GiB
  const shared = linux.dma_alloc_coherent(dev, TABLES + SLOTS * TABLE_BYTES, Linux.GFP_KERNEL, 'ahci_probe');
  if (shared === null) throw new Error('no memory for the command list');
  base = shared.dma_handle;
  hba.write32(BAR, GHC, 2 ** 31); // AHCI mode
  setPort(CLB, base);
  setPort(FB, base + FRAMES);
  setPort(CMD, CMD_FRE | CMD_SUD);
  while ((port(SSTS) & 15) !== 3 || (port(TFD) & 0x88) !== 0) yield* scheduler.delay(1000);
  setPort(SERR, 0xffffffff);
  setPort(CMD, port(CMD) | CMD_ST);
  const identity = base + TABLES + 31 * TABLE_BYTES; // the table of a slot that nobody uses yet
  command(0, ATA_IDENTIFY, 0, 0, [{ dma_address: identity, dma_length: 512 }]);
  setPort(CI, 1);
  while ((port(CI) & 1) !== 0) yield* scheduler.delay(1000);
  const q = linux.blk_init_queue(ahci_request);
  linux.blk_queue_max_segments(q, SEGMENTS);
  linux.blk_queue_max_hw_sectors(q, 65535);
  linux.request_irq(hba.line, ahci_interrupt, 0, 'ahci', q);
  setPort(PXIS, 0xffffffff);
  setPort(PXIE, IS_DHRS | IS_PSS | IS_TFES);
  hba.write32(BAR, GHC, 2 ** 31 + 2); // and interrupts
  const disk = new Linux.Gendisk('sda', q);
  linux.set_capacity(disk, memory.read32(identity + 200)); // words 100 and 101 of IDENTIFY
  return disk;
}

// ---- somebody uses the disk: writes, reads back, and meets a bad sector

const { part0 } = scheduler.complete('probe', ahci_probe);
console.log(`${part0.bd_name}: ${part0.nr_sects} sectors`);
scheduler.complete('user', function* () {
  const client = linux.dm_io_client_create();
  const vma = yield* linux.vzalloc(400 * 512);
  if (Linux.IS_ERR(client) || vma === null) throw new Error('no memory');
  const mem = { type: Linux.DM_IO_VMA, ptr: { vma } };
  machine.addFault({ disk: medium, kind: 'error', operations: ['read'], first: 300, skip: 1 });
  for (const bi_op of [Linux.REQ_OP_WRITE, Linux.REQ_OP_READ, Linux.REQ_OP_READ]) {
    const request = { bi_op, bi_op_flags: 0, mem, notify: { fn: null }, client };
    const error = yield* linux.dm_io(request, 1, [{ bdev: part0, sector: 100, count: 400 }], null);
    console.log(`${bi_op === Linux.REQ_OP_READ ? 'read' : 'write'}: ${Linux.errnoName(error)}`);
  }
});
console.log(`${hba.counters.interrupts} interrupts, ${machine.guard.findings().length} findings`);
