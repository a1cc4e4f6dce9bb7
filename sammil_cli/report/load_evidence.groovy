// Loads what sammil says of the open slide into QuPath 0.4 or later: regions become annotations, patches detections,
// coloured by their evidence.
//
// Copy the folder `evidence` into your QuPath project, drag this file onto QuPath's window, and choose Run > Run; or
// Run > Run for project, which loads every slide of the project and leaves the colours as they are.

import qupath.lib.color.ColorMaps
import qupath.lib.gui.tools.MeasurementMapper
import qupath.lib.io.PathIO
import static qupath.lib.gui.scripting.QPEx.*

// The folder with the files <slide>.geojson or <slide>.geojson.gz; without a project, write where it lies.
def folder = new File(getProject() == null ? "evidence" : buildFilePath(PROJECT_BASE_DIR, "evidence"))
// What patches are coloured by, such as "attention percentile" or "evidence tumour"; null = the last class's evidence,
// which of two classes is the positive one.
def shown = null

// The file of a slide is called like the slide's own file: take the longest name that this one begins with.
def image = new File(getCurrentServer().getURIs().iterator().next().getPath()).getName()
def files = (folder.listFiles() ?: []).findAll { it.name ==~ /.*\.geojson(\.gz)?/ }
def slide = { file -> file.name.replaceFirst(/\.geojson(\.gz)?$/, "") }
def found = files.findAll { image.startsWith(slide(it) + ".") || image == slide(it) }.max { slide(it).length() }
if (found == null) {
    println "sammil: " + folder.getAbsolutePath() + " holds no evidence of " + image
    return
}

// What an earlier run has loaded goes; annotations that you drew stay.
def ours = getAllObjects(false).findAll {
    it.measurements.containsKey("attention percentile") || it.measurements.containsKey("attention share")
}
removeObjects(ours, true)

def objects = PathIO.readObjects(found)
addObjects(objects)
def patches = objects.findAll { it.isDetection() }
println "sammil: " + image + ": " + patches.size() + " patches, " + (objects.size() - patches.size()) + " regions"

def viewer = getCurrentViewer()
if (viewer != null && patches && viewer.getImageData() == getCurrentImageData()) {
    def names = patches[0].measurements.keySet().findAll { it.startsWith("evidence ") }
    def mapper = new MeasurementMapper(ColorMaps.getDefaultColorMap(), shown ?: names.last(), patches)
    viewer.getOverlayOptions().setMeasurementMapper(mapper)
    viewer.getOverlayOptions().setFillDetections(true)
}
