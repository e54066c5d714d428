// A controller in another emulator: an AHA-1542 on a Uint8Array, programmed port by port as its guest would.

import { createController } from 'backplane/embed';

const ram = new Uint8Array(1 << 20); // the emulator's RAM, from address 0 on
const board = await createController({
  kind: 'aha1542',
  profile: 'aha1542b',
  media: { bytes: 1 << 20, content: new TextEncoder().encode('hello from sector 0') },
  dma: {
    memory: ram,
    onWrite: (address, bytes) => console.log(`wrote ${bytes} bytes at ${address.toString(16)}`),
  },
  irq: (level) => console.log(level ? 'interrupt' : 'interrupt acknowledged'),
});

/** The emulator's clock goes on while its guest waits. */
function waitFor(bits: number, value: number): void {
  while ((board.portRead(0x330, 1) & bits) !== value) board.advance(1000);
}

function command(...bytes: number[]): void {
  for (const byte of bytes) {
    waitFor(0x08, 0); // the byte before was taken
    board.portWrite(0x331, 1, byte);
  }
  while (board.poll() === 0) board.advance(1000);
  board.portWrite(0x330, 1, 0x20); // acknowledge
}

board.portWrite(0x330, 1, 0x80); // hard reset
waitFor(0x10, 0x10);
command(0x01, 1, 0, 0x10, 0); // one mailbox each way, at 1000h
for (const [name, length, ...cdb] of [
  ['TEST UNIT READY', 0, 0, 0, 0, 0, 0, 0], // a target that was reset says so once: CHECK CONDITION
  ['READ', 2, 0x08, 0, 0, 0, 1, 0], // 512 bytes, to 3000h
] as const) {
  ram.set([0, 0, cdb.length, 1, 0, length, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...cdb], 0x2000);
  ram.set([1, 0, 0x20, 0, 0], 0x1000); // the out mailbox; the in mailbox is free again
  command(0x02);
  console.log(`${name}: status ${ram[0x200f]}`);
}
console.log(
  new TextDecoder().decode(ram.subarray(0x3000, 0x3013)),
  '- findings:',
  board.guard.findings().length,
);
