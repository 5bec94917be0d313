/* One's own picture, small enough to be told to everyone. */

const SIDE = 64;
/** A meta has at most 4,096 bytes, and there is more in it. */
const LENGTH_MAX = 3_000;

/** The middle of the picture in `file`, as a `data:` address of at most `LENGTH_MAX` characters. Throws if it is no picture. */
export async function thumbnail(file) {
  const image = await createImageBitmap(file);
  for (let side = SIDE; side >= 16; side /= 2) {
    const canvas = Object.assign(document.createElement('canvas'), { width: side, height: side });
    const part = Math.min(image.width, image.height);
    const context = canvas.getContext('2d');
    context.imageSmoothingQuality = 'high';
    context.drawImage(image, (image.width - part) / 2, (image.height - part) / 2, part, part, 0, 0, side, side);
    for (const quality of [0.85, 0.6, 0.35]) {
      // Safari writes no webp and gives a PNG, which may be too large.
      for (const kind of ['image/webp', 'image/jpeg']) {
        const address = canvas.toDataURL(kind, quality);
        if (address.length <= LENGTH_MAX) return address;
      }
    }
  }
  throw new Error('too large');
}
