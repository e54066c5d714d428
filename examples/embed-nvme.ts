// Our NVMe controller in somebody else's machine: a toy with a Uint8Array as RAM, an address decoder and an interrupt
// line. Its "guest" resets the controller, makes a queue, writes a block and reads it back. Registers: NVMe 1.4.

import { createController } from 'backplane/embed';

// ---- the machine

const ram = new Uint8Array(1 << 20);
const words = new DataView(ram.buffer);
let interrupts = 0;
const nvme = await createController({
  kind: 'nvme',
  media: { bytes: 1 << 20, serial: 'TOY-1' },
  dma: { memory: ram, onWrite: (address, bytes) => void written.push([address, bytes]) },
  irq: (level) => {
    if (level) interrupts++;
  },
});
/** What the controller wrote since the guest last looked: a machine with a JIT forgets its translations there. */
const written: [address: number, bytes: number][] = [];

// No BIOS runs here: the BAR goes to FE000000h. A guest does the same with configuration writes.
nvme.enable(0xfe000000);
console.log('BAR 0 at', nvme.barAddress(0)?.toString(16), 'of', nvme.bars[0]?.bytes, 'bytes');

/** The machine's address decoder: RAM, then the controller's BAR, wherever it is at that moment. */
function load(address: number): number {
  if (address + 4 <= ram.length) return words.getUint32(address, true);
  const bar = nvme.barAddress(0) ?? Number.POSITIVE_INFINITY;
  return address >= bar ? nvme.read(0, address - bar, 4) : 0xffffffff;
}

function store(address: number, value: number): void {
  if (address + 4 <= ram.length) words.setUint32(address, value, true);
  else {
    const bar = nvme.barAddress(0) ?? Number.POSITIVE_INFINITY;
    if (address >= bar) nvme.write(0, address - bar, 4, value);
  }
}

/** The machine's clock: it passes while the guest waits. */
function waitFor(ready: () => boolean): void {
  while (!ready()) nvme.advance(1000);
}

// ---- the guest

const REGISTERS = 0xfe000000;
const [CC, CSTS, AQA, ASQ, ACQ] = [0x14, 0x1c, 0x24, 0x28, 0x30] as const;
/** Queue memory: the admin queue's two rings, then those of queue 1; the data's page. */
const RINGS = 0x10000;
const DATA = 0x20000;
const ENTRIES = 16;
const [CREATE_SQ, CREATE_CQ, IDENTIFY] = [0x01, 0x05, 0x06] as const; // admin commands
const [WRITE, READ] = [0x01, 0x02] as const; // commands of queue 1
const queues = [0, 1].map((id) => {
  return { sq: RINGS + id * 0x2000, cq: RINGS + id * 0x2000 + 0x1000, id, tail: 0, head: 0, phase: 1 };
});

function setup(): void {
  store(REGISTERS + CC, 0);
  store(REGISTERS + AQA, (ENTRIES - 1) * 0x10001);
  store(REGISTERS + ASQ, RINGS);
  store(REGISTERS + ACQ, RINGS + 0x1000);
  store(REGISTERS + CC, (4 << 20) | (6 << 16) | 1); // entries of 16 and 64 bytes, enabled
  waitFor(() => (load(REGISTERS + CSTS) & 1) !== 0);
  command(0, [CREATE_CQ, 0, RINGS + 0x3000, ((ENTRIES - 1) << 16) | 1, 3]); // contiguous, with interrupts
  command(0, [CREATE_SQ, 0, RINGS + 0x2000, ((ENTRIES - 1) << 16) | 1, 0x10001]);
}

/** Puts a command into a queue, rings its doorbell and waits for its end. `what`: opcode, namespace, PRP 1, dwords 10 and on. */
function command(number: number, [opcode = 0, nsid = 0, prp = 0, ...rest]: readonly number[]): void {
  const queue = queues[number];
  if (queue === undefined) throw new Error(`no queue ${number}`);
  const entry = queue.sq + queue.tail * 64;
  const dwords = [opcode, nsid, 0, 0, 0, 0, prp, 0, 0, 0, ...rest];
  for (let i = 0; i < 16; i++) store(entry + i * 4, dwords[i] ?? 0);
  queue.tail = (queue.tail + 1) % ENTRIES;
  store(REGISTERS + 0x1000 + queue.id * 8, queue.tail);
  const end = queue.cq + queue.head * 16 + 12;
  waitFor(() => ((load(end) >>> 16) & 1) === queue.phase);
  const status = load(end) >>> 17;
  queue.head = (queue.head + 1) % ENTRIES;
  if (queue.head === 0) queue.phase ^= 1;
  store(REGISTERS + 0x1004 + queue.id * 8, queue.head);
  if (status !== 0) throw new Error(`command ${opcode} of queue ${number} ended as ${status.toString(16)}`);
}

const text = (address: number, bytes: number) =>
  new TextDecoder().decode(ram.subarray(address, address + bytes)).trimEnd();

setup();
command(0, [IDENTIFY, 0, DATA, 1]);
console.log('serial number:', text(DATA + 4, 20));

ram.set(new TextEncoder().encode('hello from the guest'), DATA);
command(1, [WRITE, 1, DATA, 7, 0, 0]);
ram.fill(0, DATA, DATA + 512);
written.length = 0;
command(1, [READ, 1, DATA, 7, 0, 0]);
console.log('block 7:', text(DATA, 20));
console.log('written:', written.map(([address, bytes]) => `${bytes} at ${address.toString(16)}`).join(', '));
console.log(interrupts, 'interrupts, line', nvme.lines, '- findings:', nvme.guard.findings().length);
await nvme.close();
