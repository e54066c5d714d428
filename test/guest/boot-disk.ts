// A disk that a BIOS can boot the kernel from: a boot sector that reads with INT 13h, extended, and puts kernel and
// initramfs where Linux wants them.
// Specification: Linux Documentation/x86/boot.rst (boot protocol 2.06 and later); BIOS interrupts 13h AH=42h (EDD 1.1)
// and 15h AH=87h (block move, as the AT's BIOS has it).

const SECTOR = 512;
const ORIGIN = 0x7c00;
/** Where the parts go: the kernel's 16-bit part, its command line, the rest of it. The initramfs: above all of that. */
const SETUP_AT = 0x90000;
const COMMAND_LINE_AT = 0x99000;
const KERNEL_AT = 0x100000;
const INITRAMFS_AT = 0x8000000;
/** Where a read goes first; 64 sectors at a time. */
const BUFFER = 0x10000;
const BATCH = 64;

// Places in the boot sector, behind the code.
const [DRIVE, PACKET, TABLE, LIST] = [ORIGIN + 0x100, ORIGIN + 0x104, ORIGIN + 0x118, ORIGIN + 0x150];

/** A part of what is loaded: from which sector on, where to, how many sectors. */
interface Part {
  readonly bytes: Uint8Array;
  readonly to: number;
}

/** Writes boot sector, kernel, command line and initramfs into an image of `bytes` bytes. */
export function bootableImage(
  bytes: number,
  { kernel, initramfs, commandLine }: { kernel: Uint8Array; initramfs: Uint8Array; commandLine: string },
): Uint8Array {
  const image = new Uint8Array(bytes);
  const setupBytes = (1 + (kernel[0x1f1] ?? 4)) * SECTOR;
  const setup = kernel.slice(0, setupBytes);
  const header = new DataView(setup.buffer);
  setup[0x210] = 0xff; // type of the boot loader: one without a number
  setup[0x211] = (setup[0x211] ?? 0) | 0x80; // the heap may be used
  header.setUint16(0x224, 0x8e00, true);
  header.setUint32(0x218, INITRAMFS_AT, true);
  header.setUint32(0x21c, initramfs.length, true);
  header.setUint32(0x228, COMMAND_LINE_AT, true);
  const parts: Part[] = [
    { bytes: setup, to: SETUP_AT },
    { bytes: new TextEncoder().encode(`${commandLine}\0`), to: COMMAND_LINE_AT },
    { bytes: kernel.subarray(setupBytes), to: KERNEL_AT },
    { bytes: initramfs, to: INITRAMFS_AT },
  ];
  const view = new DataView(image.buffer);
  image.set(code());
  let sector = 1;
  for (const [i, part] of parts.entries()) {
    const sectors = Math.ceil(part.bytes.length / SECTOR);
    const at = LIST - ORIGIN + 12 * i;
    view.setUint32(at, sector, true);
    view.setUint32(at + 4, part.to, true);
    view.setUint16(at + 8, sectors, true);
    image.set(part.bytes, sector * SECTOR);
    sector += sectors;
  }
  image.set([0x10, 0], PACKET - ORIGIN);
  view.setUint16(PACKET - ORIGIN + 6, BUFFER >>> 4, true);
  for (const [entry, base] of [
    [2, BUFFER],
    [3, 0],
  ] as const) {
    view.setUint16(TABLE - ORIGIN + 8 * entry, 0xffff, true);
    view.setUint32(TABLE - ORIGIN + 8 * entry + 2, base, true);
    image[TABLE - ORIGIN + 8 * entry + 5] = 0x93; // present, data, writable
  }
  image.set([0x55, 0xaa], SECTOR - 2);
  return image;
}

const word = (value: number): number[] => [value & 0xff, value >>> 8];

/** For each part of LIST (sector, address, sectors left): reads a batch, moves it to its place, until there is none. */
function code(): number[] {
  return assembled([
    ...[0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0], // cli; xor ax, ax; mov ds, ax; es; ss
    ...[0xbc, ...word(ORIGIN), 0xfb, 0xfc], // mov sp, ORIGIN; sti; cld
    ...[0x88, 0x16, ...word(DRIVE)], // mov [DRIVE], dl
    ...[0xbd, ...word(LIST)], // mov bp, LIST
    label('next'), // is this part done?
    ...[0x8b, 0x4e, 0x08, 0x85, 0xc9, 0x74], // mov cx, [bp+8]; test cx, cx; jz done
    to('done'),
    ...[0xb8, ...word(BATCH), 0x39, 0xc1, 0x73, 0x02, 0x89, 0xc8], // mov ax, BATCH; cmp cx, ax; jae +2; mov ax, cx
    ...[0xa3, ...word(PACKET + 2)], // mov [PACKET.sectors], ax
    ...[0x66, 0x8b, 0x5e, 0x00, 0x66, 0x89, 0x1e, ...word(PACKET + 8)], // mov ebx, [bp]; mov [PACKET.first], ebx
    ...[0x50, 0xb4, 0x42, 0x8a, 0x16, ...word(DRIVE)], // push ax; mov ah, 42h; mov dl, [DRIVE]
    ...[0xbe, ...word(PACKET), 0xcd, 0x13, 0x58, 0x72], // mov si, PACKET; int 13h; pop ax; jc fail
    to('fail'),
    ...[0x66, 0x8b, 0x5e, 0x04, 0x89, 0x1e, ...word(TABLE + 26)], // mov ebx, [bp+4]; mov [base, low], bx
    ...[0x66, 0xc1, 0xeb, 0x10, 0x88, 0x1e, ...word(TABLE + 28)], // shr ebx, 16; mov [base, middle], bl
    ...[0x88, 0x3e, ...word(TABLE + 31)], // mov [base, high], bh
    ...[0x50, 0x89, 0xc1, 0xc1, 0xe1, 0x08, 0xbe, ...word(TABLE)], // push ax; mov cx, ax; shl cx, 8; mov si, TABLE
    ...[0xb4, 0x87, 0xcd, 0x15, 0x58, 0x72], // mov ah, 87h; int 15h; pop ax; jc fail
    to('fail'),
    ...[0x66, 0x0f, 0xb7, 0xc0, 0x66, 0x01, 0x46, 0x00], // movzx eax, ax; add [bp], eax
    ...[0x29, 0x46, 0x08, 0x66, 0xc1, 0xe0, 0x09], // sub [bp+8], ax; shl eax, 9
    ...[0x66, 0x01, 0x46, 0x04], // add [bp+4], eax
    ...[0x83, 0x7e, 0x08, 0x00, 0x75], // cmp word [bp+8], 0; jnz next
    to('next'),
    ...[0x83, 0xc5, 0x0c, 0xeb], // add bp, 12; jmp next
    to('next'),
    label('done'),
    ...[0xfa, 0xb8, ...word(SETUP_AT >>> 4), 0x8e, 0xd8, 0x8e, 0xc0], // cli; mov ax, SETUP; mov ds, ax; es
    ...[0x8e, 0xe0, 0x8e, 0xe8, 0x8e, 0xd0, 0xbc, 0x00, 0x8e], // mov fs, ax; gs; ss; mov sp, 8E00h
    ...[0xea, 0x00, 0x00, ...word((SETUP_AT + 0x200) >>> 4)], // jmp SETUP+20h:0
    label('fail'),
    ...[0xb8, 0x46, 0x0e, 0xcd, 0x10, 0xf4, 0xeb, 0xfd], // mov ax, 0E46h; int 10h; hlt; jmp -1
  ]);
}

/** A byte; a place with a name; the distance to one, which ends a short jump. */
type Item = number | { readonly label: string } | { readonly target: string };

function label(name: string): Item {
  return { label: name };
}

function to(name: string): Item {
  return { target: name };
}

function assembled(items: readonly Item[]): number[] {
  const labels = new Map<string, number>();
  let at = 0;
  for (const item of items) {
    if (typeof item === 'object' && 'label' in item) labels.set(item.label, at);
    else at++;
  }
  const bytes: number[] = [];
  for (const item of items) {
    if (typeof item === 'number') bytes.push(item);
    else if ('target' in item) bytes.push(((labels.get(item.target) ?? 0) - bytes.length - 1) & 0xff);
  }
  return bytes;
}
